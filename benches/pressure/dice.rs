//! Chance that is the same on every machine: a splitmix64 generator.

/// A row of random numbers.
pub struct Dice(u64);

impl Dice {
    /// The row of one thing, named by numbers: what one thing draws changes nothing for any other, so that all laws meet
    /// the same week.
    pub fn of(seed: u64, thing: &[u64]) -> Dice {
        let mut dice = Dice(seed);
        for number in thing {
            dice.0 = dice.next() ^ number.wrapping_mul(0xd134_2543_de82_ef95);
        }
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to, not with, 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Between two bounds.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// True so often, of 1.
    pub fn chance(&mut self, often: f64) -> bool {
        self.unit() < often
    }

    /// The time to the next of many things that come by themselves, `mean` apart.
    pub fn wait(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }
}
