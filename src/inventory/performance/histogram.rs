//! How values are distributed, in constant memory: buckets whose width grows with the value, so that a percentile is
//! at most 1/32 too high, and never too low.

const SUB_BITS: u32 = 5;
const SUB: u64 = 1 << SUB_BITS;

/// A histogram of whole numbers.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// The bucket of the first count.
    first: usize,
    counts: Vec<u32>,
    total: u64,
}

fn bucket(value: u64) -> usize {
    if value < SUB {
        return value as usize;
    }
    let power = 63 - value.leading_zeros();
    let sub = (value >> (power - SUB_BITS)) & (SUB - 1);
    (u64::from(power - SUB_BITS + 1) * SUB + sub) as usize
}

/// The largest value of a bucket.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SUB {
        return bucket;
    }
    let (power, sub) = (bucket / SUB - 1, bucket % SUB);
    ((u128::from(SUB + sub + 1) << power) - 1).min(u128::from(u64::MAX)) as u64
}

impl Histogram {
    /// Counts a value.
    pub fn add(&mut self, value: u64) {
        let at = bucket(value);
        if self.counts.is_empty() {
            self.first = at;
        } else if at < self.first {
            let more = self.first - at;
            drop(self.counts.splice(0..0, std::iter::repeat_n(0, more)));
            self.first = at;
        }
        let at = at - self.first;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] = self.counts[at].saturating_add(1);
        self.total += 1;
    }

    /// The value that `percent` of 100 values do not exceed; nothing if there are no values.
    pub fn percentile(&self, percent: u32) -> Option<u64> {
        if self.total == 0 {
            return None;
        }
        let wanted = (u128::from(self.total) * u128::from(percent)).div_ceil(100).max(1);
        let mut seen = 0_u128;
        for (at, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= wanted {
                return Some(upper(self.first + at));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn percentiles_are_near_and_never_low(mut values in proptest::collection::vec(any::<u64>(), 1..300), percent in 1u32..=100) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|value| histogram.add(*value));
            values.sort_unstable();
            let rank = (values.len() * percent as usize).div_ceil(100).max(1);
            let exact = values[rank - 1];
            let found = histogram.percentile(percent).unwrap();
            prop_assert!(found >= exact && found - exact <= exact / 32 + 1, "{found} for {exact}");
        }
    }
}
