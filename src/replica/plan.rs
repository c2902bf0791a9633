//! Which files restore a database: decided from listings alone.

use super::ltx::{FileName, Level, Txid};

/// One LTX file of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub level: Level,
    pub name: FileName,
    /// In the store
    pub key: String,
    pub size: u64,
    /// Of its last transaction, since 1970
    pub timestamp_ms: i64,
}

/// Up to where a database is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Latest,
    Txid(Txid),
    /// What is older than this, in milliseconds since 1970
    Before(i64),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("there is no LTX file of a database in it")]
    Empty,
    #[error("nothing in it is old enough; the oldest restorable state is later")]
    TooEarly,
    #[error("transactions {first} to {last} are missing: no file holds them")]
    Missing { first: Txid, last: Txid },
    #[error("transaction {wanted} is not in it; the newest that can be reached is {newest}")]
    Beyond { wanted: Txid, newest: Txid },
    #[error("transaction {wanted} lies inside of {inside}; restorable next to it are {before} and {}", inside.max)]
    Inside { wanted: Txid, before: Txid, inside: FileName },
}

/// The files to apply, oldest first: the newest snapshot that fits, then from each position the file
/// that reaches furthest. It is what Litestream 0.5 takes, in the same order.
pub fn restore(files: &[Candidate], target: Target) -> Result<Vec<Candidate>, Error> {
    let fits = |file: &&Candidate| match target {
        Target::Latest => true,
        Target::Txid(id) => file.name.max <= id,
        Target::Before(moment) => file.timestamp_ms < moment,
    };
    let snapshots = files.iter().filter(|file| file.level == Level::SNAPSHOTS && file.name.is_snapshot());
    let mut plan: Vec<Candidate> =
        snapshots.filter(fits).max_by_key(|file| file.name.max).cloned().into_iter().collect();
    let deltas: Vec<&Candidate> = files.iter().filter(|file| file.level != Level::SNAPSHOTS).filter(fits).collect();
    let mut position = plan.first().map_or(Txid(0), |file| file.name.max);
    loop {
        if target == Target::Txid(position) {
            return Ok(plan);
        }
        let next = deltas.iter().filter(|file| file.name.min <= position.next() && file.name.max > position);
        let furthest = next.max_by(|a, b| {
            let by_reach = a.name.max.cmp(&b.name.max).then(b.name.min.cmp(&a.name.min));
            by_reach.then(a.level.cmp(&b.level)).then(b.timestamp_ms.cmp(&a.timestamp_ms))
        });
        let Some(file) = furthest else { break };
        position = file.name.max;
        plan.push((*file).clone());
    }
    if files.is_empty() {
        return Err(Error::Empty);
    }
    // A file beyond the end is a gap, unless one that is too new for the target bridges it.
    let beyond = deltas.iter().map(|file| file.name.min).filter(|min| *min > position.next()).min();
    let bridge = files.iter().map(|file| file.name).find(|name| name.contains(position.next()));
    match (target, beyond, bridge) {
        (Target::Txid(wanted), _, Some(inside)) if inside.contains(wanted) => {
            Err(Error::Inside { wanted, before: position, inside })
        }
        (_, Some(after), None) => Err(Error::Missing { first: position.next(), last: Txid(after.0 - 1) }),
        (Target::Txid(wanted), None, None) => Err(Error::Beyond { wanted, newest: position }),
        (Target::Txid(wanted), _, Some(inside)) => Err(Error::Inside { wanted, before: position, inside }),
        _ if plan.is_empty() => Err(Error::TooEarly),
        _ => Ok(plan),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(level: u8, min: u64, max: u64) -> Candidate {
        let name = FileName { min: Txid(min), max: Txid(max) };
        let key = format!("{level}/{name}");
        Candidate { level: Level::new(level).unwrap(), name, key, size: 1, timestamp_ms: max as i64 * 10 }
    }

    fn ranges(plan: &[Candidate]) -> Vec<(u8, u64, u64)> {
        plan.iter().map(|file| (file.level.number(), file.name.min.0, file.name.max.0)).collect()
    }

    #[test]
    fn the_newest_snapshot_then_what_reaches_furthest() {
        let files = [file(9, 1, 1), file(9, 1, 4), file(2, 3, 6), file(1, 5, 5), file(1, 6, 6), file(0, 7, 7)];
        assert_eq!(ranges(&restore(&files, Target::Latest).unwrap()), [(9, 1, 4), (2, 3, 6), (0, 7, 7)]);
        assert_eq!(ranges(&restore(&files, Target::Txid(Txid(5))).unwrap()), [(9, 1, 4), (1, 5, 5)]);
        assert_eq!(ranges(&restore(&files, Target::Before(61)).unwrap()), [(9, 1, 4), (2, 3, 6)]);
        assert_eq!(ranges(&restore(&files, Target::Before(60)).unwrap()), [(9, 1, 4), (1, 5, 5)], "strictly before");
    }

    #[test]
    fn what_is_missing_is_said_exactly() {
        let files = [file(9, 1, 3), file(0, 7, 7), file(0, 8, 8)];
        let missing = Error::Missing { first: Txid(4), last: Txid(6) };
        assert_eq!(restore(&files, Target::Latest), Err(missing.clone()));
        assert_eq!(restore(&files, Target::Txid(Txid(8))), Err(missing));
        assert_eq!(restore(&[], Target::Latest), Err(Error::Empty));
        assert_eq!(restore(&files[..1], Target::Before(30)), Err(Error::TooEarly));
        let beyond = Error::Beyond { wanted: Txid(9), newest: Txid(3) };
        assert_eq!(restore(&files[..1], Target::Txid(Txid(9))), Err(beyond));
        let inside = restore(&[file(9, 1, 3), file(1, 4, 9)], Target::Txid(Txid(6))).unwrap_err();
        assert!(inside.to_string().contains("0000000000000003 and 0000000000000009"), "{inside}");
    }

    /// Whether some order of the files reaches the position from nothing.
    fn reachable(files: &[Candidate], wanted: u64) -> bool {
        let mut reached = vec![0];
        let mut index = 0;
        while let Some(&at) = reached.get(index) {
            for file in files {
                let extends = file.name.min.0 <= at + 1 && file.name.max.0 > at && file.name.max.0 <= wanted;
                if extends && !reached.contains(&file.name.max.0) {
                    reached.push(file.name.max.0);
                }
            }
            index += 1;
        }
        reached.contains(&wanted)
    }

    proptest! {
        #[test]
        fn a_plan_is_contiguous_and_exists_when_any_does(
            spans in prop::collection::vec((0_u8..4, 1_u64..12, 0_u64..5), 1..16),
            wanted in 1_u64..16,
        ) {
            // Without snapshots of level 9 the oracle needs no rule of its own about them.
            let files: Vec<Candidate> = spans.iter().map(|(level, min, more)| file(*level, *min, min + more)).collect();
            match restore(&files, Target::Txid(Txid(wanted))) {
                Ok(plan) => {
                    let mut at = 0;
                    for file in &plan {
                        prop_assert!(file.name.min.0 <= at + 1 && file.name.max.0 > at);
                        at = file.name.max.0;
                    }
                    prop_assert_eq!(at, wanted);
                }
                Err(_) => prop_assert!(!reachable(&files, wanted)),
            }
        }
    }
}
