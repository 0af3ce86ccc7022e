//! Diagnostics for terminals: the source line underlined, with a few lines around it.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Snippet};

use super::lines::floor_boundary;
use super::{Diagnostic, Diagnostics, Label, LineIndexes, Severity, SourceText};

/// Labels at most this many lines apart share one excerpt.
const CONTEXT: usize = 5;
/// Longest excerpt; longer ones are cut down to the lines of the labels, then around them.
const EXCERPT_LIMIT: usize = 16 * 1024;
/// Places of one diagnostic that are drawn; a cycle through thousands of machines names the rest by number.
const LABEL_LIMIT: usize = 40;

/// Draws diagnostics; keeps a line index per file, so draw all diagnostics of a run with one renderer.
#[derive(Debug)]
pub struct Renderer {
    inner: annotate_snippets::Renderer,
    indexes: LineIndexes,
}

/// Neighbouring labels and the lines they are shown with.
struct Cluster<'a> {
    source: &'a Arc<SourceText>,
    first: usize,
    last: usize,
    labels: Vec<(&'a Label, bool)>,
}

impl Renderer {
    /// With colours for a terminal, or without for files and tests.
    pub fn new(colour: bool) -> Self {
        let inner = match colour {
            true => annotate_snippets::Renderer::styled(),
            false => annotate_snippets::Renderer::plain(),
        };
        Self { inner: inner.term_width(120), indexes: LineIndexes::default() }
    }

    /// Draws all of them, an empty line after each.
    pub fn render_all<'a>(&mut self, diagnostics: impl IntoIterator<Item = &'a Diagnostic>) -> String {
        let mut text = String::new();
        for diagnostic in diagnostics {
            text.push_str(&self.render(diagnostic));
            text.push_str("\n\n");
        }
        text
    }

    /// Draws one.
    pub fn render(&mut self, diagnostic: &Diagnostic) -> String {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Advice => Level::NOTE.with_name("advice"),
        };
        let clusters = self.clusters(&diagnostic.labels);
        let snippets: Vec<_> = clusters.iter().map(|cluster| self.snippet(cluster)).collect();
        let mut group = level.primary_title(harmless(&diagnostic.message)).id(diagnostic.code).elements(snippets);
        if diagnostic.labels.len() > LABEL_LIMIT {
            let more = diagnostic.labels.len() - LABEL_LIMIT;
            group = group.element(Level::NOTE.message(format!("and {more} places more")));
        }
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(harmless(help)));
        }
        let report: &[Group<'_>] = &[group];
        self.inner.render(report)
    }

    /// Labels of one file whose surroundings touch are drawn in one excerpt; the mistake's own comes first.
    fn clusters<'a>(&mut self, labels: &'a [Label]) -> Vec<Cluster<'a>> {
        let mut clusters: Vec<Cluster<'a>> = Vec::new();
        for (position, label) in labels.iter().take(LABEL_LIMIT).enumerate() {
            let source = &label.span.source;
            let index = self.indexes.of(source);
            let first = index.line_of(floor_boundary(&source.text, label.span.start));
            let last = index.line_of(floor_boundary(&source.text, label.span.end.max(label.span.start)));
            let near = clusters.iter_mut().find(|cluster| {
                Arc::ptr_eq(cluster.source, source)
                    && first <= cluster.last + 2 * CONTEXT
                    && cluster.first <= last + 2 * CONTEXT
            });
            match near {
                Some(cluster) => {
                    cluster.first = cluster.first.min(first);
                    cluster.last = cluster.last.max(last);
                    cluster.labels.push((label, position == 0));
                }
                None => clusters.push(Cluster { source, first, last, labels: vec![(label, position == 0)] }),
            }
        }
        clusters
    }

    fn snippet<'a>(&mut self, cluster: &Cluster<'a>) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let source: &'a SourceText = cluster.source;
        let index = self.indexes.of(cluster.source);
        let first = cluster.first.saturating_sub(CONTEXT);
        let last = (cluster.last + CONTEXT).min(index.lines() - 1);
        let (mut excerpt, mut line) = (index.bytes_of(source, first, last), first);
        if excerpt.len() > EXCERPT_LIMIT {
            (excerpt, line) = (index.bytes_of(source, cluster.first, cluster.last), cluster.first);
        }
        if excerpt.len() > EXCERPT_LIMIT {
            let start = cluster.labels.iter().map(|(label, _)| label.span.start).min().unwrap_or_default();
            let start = floor_boundary(&source.text, start.saturating_sub(80).max(excerpt.start));
            line = index.line_of(start);
            excerpt = start..floor_boundary(&source.text, (start + 400).min(excerpt.end));
        }
        let annotations = cluster.labels.iter().filter_map(|(label, primary)| {
            let range = within(&source.text, &excerpt, label.span.start..label.span.end)?;
            let kind = if *primary { AnnotationKind::Primary } else { AnnotationKind::Context };
            let text = (!label.text.is_empty()).then(|| harmless(&label.text));
            Some(kind.span(range).label(text))
        });
        Snippet::source(&source.text[excerpt.clone()])
            .line_start(line + 1)
            .path(&source.path)
            .annotations(annotations.collect::<Vec<_>>())
    }
}

/// `range` relative to the excerpt, cut to it, widened to one character if it is empty.
fn within(text: &str, excerpt: &Range<usize>, range: Range<usize>) -> Option<Range<usize>> {
    let start = floor_boundary(text, range.start);
    if start > excerpt.end || range.end < excerpt.start {
        return None;
    }
    let start = start.clamp(excerpt.start, excerpt.end);
    let end = floor_boundary(text, range.end.max(start)).clamp(start, excerpt.end);
    Some(start - excerpt.start..end - excerpt.start)
}

/// Nothing from a plan may steer the terminal: control characters are spelled out.
fn harmless(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => clean.push('\n'),
            c if c.is_control() => write!(clean, "{}", c.escape_default()).expect("a string takes every text"),
            c => clean.push(c),
        }
    }
    clean
}

impl Diagnostics {
    /// `3 errors, 1 warning`, or nothing if there is nothing to say.
    pub fn summary(&self) -> Option<String> {
        let parts: Vec<String> =
            [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Advice, "piece of advice")]
                .into_iter()
                .filter_map(|(severity, name)| match (self.count(severity), severity) {
                    (0, _) => None,
                    (1, _) => Some(format!("1 {name}")),
                    (n, Severity::Advice) => Some(format!("{n} pieces of advice")),
                    (n, _) => Some(format!("{n} {name}s")),
                })
                .collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}
