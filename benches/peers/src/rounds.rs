//! Times of several contestants, batch by batch in turn, and the medians of their ratios.

use std::time::Duration;

/// Calls of one batch.
pub(crate) const CALLS: u64 = 100;
/// All calls of a contestant stay below what every store takes without evicting: 100,000 entries in the smallest, which
/// has two for a request that runs.
const ROUNDS: usize = 400;
const WARM_UP: usize = 40;

/// The times of each contestant, round by round.
pub(crate) struct Rounds {
    names: Vec<&'static str>,
    times: Vec<Vec<Duration>>,
}

impl Rounds {
    /// Runs the batches: `batch` is told which contestant has its turn and the number of its first call, and says how long
    /// its [`CALLS`] calls took.
    pub(crate) async fn run(
        names: &[&'static str],
        mut batch: impl AsyncFnMut(usize, u64) -> Duration,
    ) -> Self {
        let mut times = vec![Vec::with_capacity(ROUNDS); names.len()];
        for round in 0..WARM_UP + ROUNDS {
            for turn in 0..names.len() {
                // Nobody always follows the same other one.
                let contestant = (turn + round) % names.len();
                let time = batch(contestant, round as u64 * CALLS).await;
                if round >= WARM_UP {
                    times[contestant].push(time);
                }
            }
        }
        Self {
            names: names.to_vec(),
            times,
        }
    }

    /// One line per contestant with its time and its ratios to each of `references`, and `notes` below.
    pub(crate) fn print(
        &self,
        title: &str,
        references: &[usize],
        notes: impl Fn(&str) -> &'static str,
    ) {
        print!("\n{title:<42}{:>10}", "ns");
        for reference in references {
            print!("{:>22}", format!("x {}", self.names[*reference]));
        }
        println!();
        for (contestant, name) in self.names.iter().enumerate() {
            let nanos = self.times[contestant]
                .iter()
                .map(|time| time.as_nanos() as f64 / CALLS as f64);
            print!("{name:<42}{:>10.0}", median(nanos));
            for reference in references {
                let ratios = self.times[contestant]
                    .iter()
                    .zip(&self.times[*reference])
                    .map(|(time, reference)| time.as_secs_f64() / reference.as_secs_f64());
                print!("{:>22.2}", median(ratios));
            }
            println!();
            for line in notes(name).lines() {
                println!("    {line}");
            }
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
