//! `factory`: supervises AI coding agents on several machines and repositories. All logic is in the library.

fn main() -> std::process::ExitCode {
    factory::cli::main(std::env::args_os())
}
