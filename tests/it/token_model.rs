//! Random scripts on the real tree beside the reference model. The seed of a failing script is in
//! the panic's message; `fuzz/` drives the same function from its own bytes.

use umbel_tests::model::run_script;

/// splitmix64.
struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[test]
fn random_scripts_agree_with_the_model() {
    let (scripts, length) = if cfg!(miri) { (2, 200) } else { (200, 3_000) };
    for seed in 0..scripts {
        let mut random = Random(seed);
        let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        let run = std::panic::catch_unwind(|| run_script(&bytes));
        if let Err(panic) = run {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn the_empty_script() {
    run_script(&[]);
    run_script(&[0]);
}
