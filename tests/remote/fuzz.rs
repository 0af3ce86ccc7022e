//! Every message that the controller accepts, mutated: a fixed number of inputs from fixed seeds. `REPLANT_TEST_LONG=1`
//! runs a hundred times as many; `fuzz/` runs the same targets under libFuzzer.

use std::path::Path;

use replant::controller::fuzzing::{names, run, samples};

use crate::image::fuzz::{Dice, mutated};

const ROUNDS: u64 = 300;

#[test]
fn no_message_makes_the_controller_panic() {
    let corpus = std::env::var_os("REPLANT_FUZZ_CORPUS");
    let rounds = if std::env::var_os("REPLANT_TEST_LONG").is_some() { 100 * ROUNDS } else { ROUNDS };
    for name in names() {
        let samples = samples(name);
        if let Some(folder) = &corpus {
            let folder = Path::new(folder).join(name);
            std::fs::create_dir_all(&folder).unwrap();
            for (number, sample) in samples.iter().enumerate() {
                std::fs::write(folder.join(format!("sample{number}")), sample).unwrap();
            }
        }
        for round in 0..rounds {
            let sample = &samples[(round % samples.len() as u64) as usize];
            let input = match round {
                0 => sample.clone(),
                1 => Vec::new(),
                _ => mutated(sample, &mut Dice(round << 8 | name.len() as u64)),
            };
            if let Err(panic) = std::panic::catch_unwind(|| run(name, &input)) {
                let path = std::env::temp_dir().join(format!("replant-fuzz-{name}-{round}"));
                std::fs::write(&path, &input).unwrap();
                eprintln!("{name}, round {round}; the input is {}", path.display());
                std::panic::resume_unwind(panic);
            }
        }
    }
}
