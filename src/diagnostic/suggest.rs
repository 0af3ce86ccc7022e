//! Did you mean ...?

/// The candidate that `word` is most likely a slip of, if one is near.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.is_empty() || word.len() > 100 {
        return None;
    }
    let folded = fold(word);
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| *candidate != word)
        .map(|candidate| {
            let other = fold(candidate);
            let distance = strsim::damerau_levenshtein(&folded, &other);
            // A word cut short or drawn out is near as well: `disk` for `disks`, `mem` for `memory`.
            let prefix = folded.len() >= 3 && (other.starts_with(&folded) || folded.starts_with(&other));
            (if prefix { distance.min(1) } else { distance }, candidate)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Case and the choice between `-`, `_` and a space are never meant.
fn fold(word: &str) -> String {
    word.to_lowercase().replace(['-', ' '], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let keys = ["source", "disks", "memory", "on_failure", "after"];
        assert_eq!(closest("disk", keys), Some("disks"));
        assert_eq!(closest("on-failure", keys), Some("on_failure"));
        assert_eq!(closest("onFailure", keys), Some("on_failure"));
        assert_eq!(closest("mem", keys), Some("memory"));
        assert_eq!(closest("mmeory", keys), Some("memory"));
        assert_eq!(closest("colour", keys), None);
    }
}
