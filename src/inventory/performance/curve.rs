//! A curve for drawing, in constant memory: when there are too many steps, two become one.

const STEPS: usize = 240;

/// A curve of a growing number of samples.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    start: i64,
    step: i64,
    steps: Vec<Step>,
}

/// The samples of a span of time.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    high: u64,
    sum: u128,
    count: u64,
}

impl Step {
    fn join(self, other: Self) -> Self {
        Self { high: self.high.max(other.high), sum: self.sum + other.sum, count: self.count + other.count }
    }
}

impl Curve {
    /// Adds a sample; samples come in order of time.
    pub fn add(&mut self, time: i64, value: u64) {
        if self.steps.is_empty() {
            self.start = time;
            self.step = 60;
        }
        let mut at = ((time - self.start) / self.step).max(0);
        while at >= STEPS as i64 {
            self.steps =
                self.steps.chunks(2).map(|pair| pair.iter().copied().fold(Step::default(), Step::join)).collect();
            self.step = self.step.saturating_mul(2);
            at = (time - self.start) / self.step;
        }
        let at = at as usize;
        if at >= self.steps.len() {
            self.steps.resize(at + 1, Step::default());
        }
        self.steps[at] = self.steps[at].join(Step { high: value, sum: u128::from(value), count: 1 });
    }

    /// When it begins, in seconds.
    pub fn start(&self) -> i64 {
        self.start
    }

    /// Seconds of a step.
    pub fn step(&self) -> i64 {
        self.step
    }

    /// The largest sample of each step.
    pub fn high(&self) -> impl Iterator<Item = Option<u64>> {
        self.steps.iter().map(|step| (step.count > 0).then_some(step.high))
    }

    /// The mean of each step.
    pub fn mean(&self) -> impl Iterator<Item = Option<u64>> {
        self.steps.iter().map(|step| u64::try_from(step.sum.checked_div(u128::from(step.count))?).ok())
    }
}
