//! Utilisation over time as drawings: what was measured, and the value that sizing takes.

use serde_json::{Value, json};

use super::scale::{Unit, moment, times};
use crate::assess::sizing::MachineSizing;
use crate::inventory::model::{Fact, Series, UtilisationFacts};
use crate::plan::Utilisation;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 22.0;
const HEIGHT: f64 = 130.0;

/// The value that sizing takes.
struct Chosen {
    value: u64,
    /// When it was measured, and how long it lasted; a value that somebody wrote has no time.
    at: Option<(i64, i64)>,
    text: String,
}

/// The drawings of a machine: processors, memory, network, disks; those that were measured.
pub(super) fn panels(measured: &UtilisationFacts, used: &Utilisation, sizing: &MachineSizing) -> Vec<Value> {
    let series = |name: &str| {
        let named = |one: &&Series| one.name.as_ref().is_some_and(|known| known.value == name);
        measured.series.iter().find(named).and_then(Curve::read)
    };
    let mut panels = Vec::new();
    if let Some(curve) = series("cpu") {
        panels.push(curve.panel("Processors, all together", Unit::Percent, cpu(measured, used)));
    }
    if let Some(curve) = series("memory") {
        panels.push(curve.panel("Memory", Unit::Bytes, memory(measured, sizing)));
    }
    for (name, title, unit) in
        [("network", "Network, both ways together", Unit::Rate), ("disk", "Disk operations", Unit::PerSecond)]
    {
        if let Some(curve) = series(name) {
            let peak = curve.peak().map(|(at, value)| Chosen {
                value,
                at: Some((at, curve.step)),
                text: format!("peak {}", unit.text(value)),
            });
            panels.push(curve.panel(title, unit, peak));
        }
    }
    panels
}

fn seconds(fact: &Option<Fact<jiff::Timestamp>>) -> Option<i64> {
    fact.as_ref().map(|time| time.value.as_second())
}

/// The highest use that lasts; a percentage of the plan's own has no time.
fn cpu(measured: &UtilisationFacts, used: &Utilisation) -> Option<Chosen> {
    let chosen = used.cpu.as_ref()?.value;
    let window = measured.window.as_ref().and_then(|window| i64::try_from(window.value).ok()).unwrap_or(0);
    let at = seconds(&measured.cpu_at).filter(|_| measured.cpu.as_ref().is_some_and(|cpu| cpu.value == chosen));
    let text = match at {
        Some(end) => format!("chosen: {chosen} for {} min, until {}", window / 60, moment(end, "%m-%d %H:%M")),
        None => format!("chosen: {chosen}, as the plan says"),
    };
    Some(Chosen { value: u64::from(chosen.0), at: at.map(|end| (end, window)), text })
}

/// The memory of the virtual machine; the peak, where that is the peak.
fn memory(measured: &UtilisationFacts, sizing: &MachineSizing) -> Option<Chosen> {
    let chosen = sizing.memory.as_ref()?.value;
    let at = seconds(&measured.memory_at).filter(|_| measured.memory.as_ref().is_some_and(|peak| peak.value == chosen));
    let text = match at {
        Some(time) => format!("chosen: {chosen}, the peak of {}", moment(time, "%m-%d %H:%M")),
        None => format!("chosen: {chosen}, as the plan says"),
    };
    Some(Chosen { value: chosen.0, at: at.map(|time| (time, 0)), text })
}

/// A curve as the document keeps it.
struct Curve {
    start: i64,
    step: i64,
    high: Vec<Option<u64>>,
    mean: Vec<Option<u64>>,
}

impl Curve {
    /// Nothing, if it has no step that could be drawn.
    fn read(series: &Series) -> Option<Self> {
        let values = |line: &Option<Fact<String>>| -> Vec<Option<u64>> {
            let line = line.as_ref().map(|line| line.value.as_str()).unwrap_or_default();
            line.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
        };
        let curve = Self {
            start: seconds(&series.start)?,
            step: i64::try_from(series.step.as_ref()?.value).ok().filter(|step| *step > 0)?,
            high: values(&series.high),
            mean: values(&series.mean),
        };
        curve.high.iter().any(Option::is_some).then_some(curve)
    }

    fn end(&self) -> i64 {
        let steps = i64::try_from(self.high.len()).unwrap_or(i64::MAX);
        self.start.saturating_add(self.step.saturating_mul(steps))
    }

    /// The middle of the step with the largest sample, and that sample.
    fn peak(&self) -> Option<(i64, u64)> {
        let known = self.high.iter().enumerate().filter_map(|(at, value)| Some((at, (*value)?)));
        let (at, value) = known.max_by_key(|(at, value)| (*value, std::cmp::Reverse(*at)))?;
        Some((self.start.saturating_add(self.step.saturating_mul(at as i64 + 1)), value))
    }

    fn panel(&self, title: &str, unit: Unit, chosen: Option<Chosen>) -> Value {
        let most = self.high.iter().flatten().copied().chain(chosen.as_ref().map(|one| one.value)).max().unwrap_or(0);
        let ticks = unit.ticks(most);
        let top = ticks.last().copied().unwrap_or(1).max(1);
        let (inner, count) = (WIDTH - LEFT - RIGHT, self.high.len().max(1) as f64);
        let x = |steps: f64| LEFT + (steps / count).clamp(0.0, 1.0) * inner;
        let y = |value: u64| TOP + HEIGHT * (1.0 - value as f64 / top as f64);
        let at = |time: i64| x(time.saturating_sub(self.start) as f64 / self.step as f64);
        let rows: Vec<Value> =
            ticks.iter().map(|tick| json!({ "y": point(y(*tick)), "label": unit.text(*tick) })).collect();
        let columns: Vec<Value> = times(self.start, self.end())
            .into_iter()
            .map(|(time, label)| json!({ "x": point(at(time)), "label": label }))
            .collect();
        let marks: Vec<Value> = chosen
            .iter()
            .map(|one| {
                let (from, to) = match one.at {
                    Some((end, lasts)) => (at(end.saturating_sub(lasts)), at(end)),
                    None => (LEFT, WIDTH - RIGHT),
                };
                let right = from > LEFT + inner / 2.0;
                // Above the mark, unless that is where the title stands.
                let above = y(one.value) - 6.0;
                let text_y = if above < TOP + 10.0 { y(one.value) + 15.0 } else { above };
                let text_x = if right { to - 4.0 } else { from + 4.0 };
                json!({
                    "x1": point(from.min(to - 3.0).max(LEFT)), "x2": point(to), "y": point(y(one.value)),
                    "measured": one.at.is_some(), "bottom": point(TOP + HEIGHT),
                    "text_x": point(text_x), "text_y": point(text_y),
                    "anchor": if right { "end" } else { "start" }, "text": one.text,
                })
            })
            .collect();
        let range = format!(
            "{} to {} UTC; a step is {} min",
            moment(self.start, "%Y-%m-%d %H:%M"),
            moment(self.end(), "%Y-%m-%d %H:%M"),
            self.step / 60
        );
        json!({
            "title": title, "range": range, "rows": rows, "columns": columns, "marks": marks,
            "area": area(&self.high, &x, &y), "line": line(&self.mean, &x, &y),
        })
    }
}

/// A coordinate with one decimal.
fn point(value: f64) -> String {
    format!("{value:.1}")
}

/// The steps of the largest samples, down to the axis; gaps stay open.
fn area(values: &[Option<u64>], x: &dyn Fn(f64) -> f64, y: &dyn Fn(u64) -> f64) -> String {
    let mut path = String::new();
    for (at, value) in values.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| values[before]);
        if let Some(value) = value {
            let start = if before.is_some() {
                format!("V{:.1}", y(*value))
            } else {
                format!("M{:.1} {:.1}V{:.1}", x(at as f64), y(0), y(*value))
            };
            path.push_str(&format!("{start}H{:.1}", x(at as f64 + 1.0)));
            if values.get(at + 1).copied().flatten().is_none() {
                path.push_str(&format!("V{:.1}Z", y(0)));
            }
        }
    }
    path
}

/// The means, joined where they follow one another.
fn line(values: &[Option<u64>], x: &dyn Fn(f64) -> f64, y: &dyn Fn(u64) -> f64) -> String {
    let mut path = String::new();
    let mut open = false;
    for (at, value) in values.iter().enumerate() {
        if let Some(value) = value {
            let middle = at as f64 + 0.5;
            path.push_str(&match open {
                true => format!("L{:.1} {:.1}", x(middle), y(*value)),
                false => format!("M{:.1} {:.1}h0.1", x(middle), y(*value)),
            });
        }
        open = value.is_some();
    }
    path
}
