//! What somebody may have meant by a word that is not known.

/// Words that people carry over from elsewhere, and what they are called here.
const SYNONYMS: &[(&str, &str)] = &[("listen", "bind"), ("address", "bind"), ("host", "bind"), ("level", "filter")];

/// The nearest of `known` to `word`, if it is near enough to be a slip.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= slips(candidate))
        .min()
        .map(|(_, candidate)| candidate)
        .or_else(|| known.iter().copied().find(|candidate| is_part_of_the_other(&word, candidate)))
        .or_else(|| synonym(&word, known))
}

fn synonym<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let is_near = |other: &str| strsim::damerau_levenshtein(word, other) <= 1;
    let (_, ours) = SYNONYMS.iter().find(|(other, ours)| is_near(other) && known.contains(ours))?;
    known.iter().copied().find(|candidate| candidate == ours)
}

/// One slip for every three letters.
fn slips(candidate: &str) -> usize {
    (candidate.chars().count() / 3).max(1)
}

/// As in `timeout` for `call_timeout`.
fn is_part_of_the_other(word: &str, candidate: &str) -> bool {
    const SHORTEST: usize = 4;
    SHORTEST <= word.len() && SHORTEST <= candidate.len() && (candidate.contains(word) || word.contains(candidate))
}

/// "; did you mean `x`?", or else the words there are.
pub fn hint(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(candidate) => format!("; did you mean `{candidate}`?"),
        None => format!("; known: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_and_parts_are_recognised_and_strangers_are_not() {
        let known = ["listen", "bind", "port", "call_timeout", "allowed_hosts"];
        for (word, meant) in [
            ("lisen", Some("listen")),
            ("Port", Some("port")),
            ("prot", Some("port")),
            ("call-timeout", Some("call_timeout")),
            ("timeout", Some("call_timeout")),
            ("allowed_host", Some("allowed_hosts")),
            ("adress", Some("bind")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &known), meant, "{word}");
        }
    }
}
