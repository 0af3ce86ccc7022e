//! What a machine uses, as measured.

use jiff::Timestamp;

use crate::inventory::model::Fact;
use crate::inventory::model::section::section;
use crate::inventory::model::value::words;
use crate::units::{ByteCount, ByteRate, Frequency, Percent};

words! {
    /// How a load repeats; it tells how long to observe.
    LoadWord {
        /// About the same every day.
        Constant = "constant",
        /// With peaks every month or two.
        Periodic = "periodic",
        /// With seasons.
        Seasonal = "seasonal",
    }
}

words! {
    /// Whether a peak lasts.
    PeakWord {
        /// It lasts.
        Sustained = "sustained",
        /// It is short.
        Spike = "spike",
    }
}

section! {
    /// How a measurement is distributed.
    Distribution as "distribution" by () {
        /// Half of the samples are at most this.
        p50 / "p50": Option<Fact<u64>>,
        /// 95 of 100 samples are at most this.
        p95 / "p95": Option<Fact<u64>>,
        /// 99 of 100 samples are at most this.
        p99 / "p99": Option<Fact<u64>>,
        /// The largest sample.
        peak / "peak": Option<Fact<u64>>,
    }
}

section! {
    /// The load of a network adapter.
    NicLoad as "nic_load" by (name) {
        /// The adapter's name.
        name / "name": Option<Fact<String>>,
        /// Its speed.
        speed / "speed": Option<Fact<ByteRate>>,
        /// The most it carried, both ways together.
        peak / "peak": Option<Fact<ByteRate>>,
    }
}

section! {
    /// The load of all disks together.
    DiskLoadFacts as "disk_load" by () {
        /// Operations per second.
        operations / "operations": Box<Distribution>,
        /// Bytes per second.
        throughput / "throughput": Box<Distribution>,
        /// Microseconds per operation.
        latency / "latency": Box<Distribution>,
    }
}

section! {
    /// A curve: what was measured, thinned out for drawing.
    Series as "series" by (name) {
        /// What was measured: `memory` (bytes), `cpu` (hundredths of a percent), `network` (bytes per second),
        /// `disk` (operations per second).
        name / "name": Option<Fact<String>>,
        /// When the first step begins.
        start / "start": Option<Fact<Timestamp>>,
        /// Seconds of a step.
        step / "step": Option<Fact<u64>>,
        /// The largest sample of each step, separated by spaces; `-` where there is none.
        high / "high": Option<Fact<String>>,
        /// The mean of each step, in the same way.
        mean / "mean": Option<Fact<String>>,
    }
}

section! {
    /// What the machine uses, as measured.
    UtilisationFacts as "utilisation" by () {
        /// When the first sample was taken.
        from_time / "from": Option<Fact<Timestamp>>,
        /// When the last sample was taken.
        to_time / "to": Option<Fact<Timestamp>>,
        /// Seconds between samples, as a rule.
        interval / "interval": Option<Fact<u64>>,
        /// How many samples there are.
        samples / "samples": Option<Fact<u64>>,
        /// Seconds of the window that no sample covers.
        missing / "missing": Option<Fact<u64>>,
        /// How many gaps there are.
        gaps / "gaps": Option<Fact<u64>>,
        /// How the load repeats, as somebody declared it.
        load / "load": Option<Fact<LoadWord>>,
        /// Peak memory of the workload.
        memory / "memory": Option<Fact<ByteCount>>,
        /// When that was.
        memory_at / "memory_at": Option<Fact<Timestamp>>,
        /// Whether that peak lasts.
        memory_peak / "memory_peak": Option<Fact<PeakWord>>,
        /// The highest memory that lasted for the window.
        memory_sustained / "memory_sustained": Option<Fact<ByteCount>>,
        /// Seconds that a load must last to count as sustained.
        window / "window": Option<Fact<u64>>,
        /// Highest sustained use of all processors together.
        cpu / "cpu": Option<Fact<Percent>>,
        /// When that window ended.
        cpu_at / "cpu_at": Option<Fact<Timestamp>>,
        /// The highest single sample.
        cpu_peak / "cpu_peak": Option<Fact<Percent>>,
        /// Clock rate of one processor while it was measured.
        frequency / "frequency": Option<Fact<Frequency>>,
        /// Network adapters.
        nics / "nic_load": Vec<NicLoad>,
        /// Disks.
        disk / "disk_load": Box<DiskLoadFacts>,
        /// Curves.
        series / "series": Vec<Series>,
    }
}
