//! Counts by case, in a file that is committed.

use std::collections::BTreeMap;
use std::fs;

use crate::callgrind::Counts;

/// So much more or less is no change.
const TOLERANCE: f64 = 0.04;

#[derive(Default)]
pub(crate) struct Costs(BTreeMap<String, Counts>);

impl Costs {
    pub(crate) fn add(&mut self, around: &str, case: &str, counts: Counts) {
        self.0.insert(format!("{around}\t{case}"), counts);
    }

    pub(crate) fn of(&self, around: &str, case: &str) -> Counts {
        self.0[&format!("{around}\t{case}")]
    }

    pub(crate) fn write(&self, file: &str) {
        let mut text = "around\tcase\tinstructions\tallocations\n".to_owned();
        for (case, counts) in &self.0 {
            let Counts {
                instructions,
                allocations,
            } = counts;
            text += &format!("{case}\t{instructions:.0}\t{allocations:.2}\n");
        }
        fs::write(file, text).unwrap();
    }

    /// Compares, and says where the counts differ.
    pub(crate) fn agree_with(&self, file: &str) -> bool {
        let kept = Self::read(&fs::read_to_string(file).unwrap());
        let mut cases: Vec<_> = self.0.keys().chain(kept.0.keys()).collect();
        cases.sort();
        cases.dedup();
        let differ = cases
            .into_iter()
            .filter(|case| match (self.0.get(*case), kept.0.get(*case)) {
                (Some(now), Some(kept)) => {
                    let differs = |now: f64, kept: f64| (now - kept).abs() > kept * TOLERANCE;
                    let differ = differs(now.instructions, kept.instructions)
                        || differs(now.allocations, kept.allocations);
                    if differ {
                        println!(
                            "{case}: {:.0} instructions and {:.2} allocations, kept {:.0} and {:.2}",
                            now.instructions, now.allocations, kept.instructions, kept.allocations
                        );
                    }
                    differ
                }
                (now, _) => {
                    let of = if now.is_some() { "only now" } else { "only in the file" };
                    println!("{case}: {of}");
                    true
                }
            })
            .count();
        differ == 0
    }

    fn read(text: &str) -> Self {
        let lines = text.lines().skip(1).map(|line| {
            let mut fields = line.rsplitn(3, '\t');
            let (allocations, instructions) = (fields.next(), fields.next());
            let number = |field: Option<&str>| field.and_then(|it| it.parse().ok()).unwrap();
            let counts = Counts {
                instructions: number(instructions),
                allocations: number(allocations),
            };
            (fields.next().unwrap().to_owned(), counts)
        });
        Self(lines.collect())
    }
}
