//! What a plan says, case by case.
