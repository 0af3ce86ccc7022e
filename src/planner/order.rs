//! An order in which each task stands after all that it depends on: machine by machine where the graph allows it,
//! in the order of the plan. Iterative throughout; chains may be as long as there are machines.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use petgraph::Direction;
use petgraph::algo::kosaraju_scc;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::plan::Plan;

/// A node: a task by number, or the point between two waves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Point {
    /// The task of that number.
    Task(usize),
    /// Where the wave of that number begins: the wave before it has ended.
    WaveBegins(usize),
}

/// The graph that is put in order.
#[derive(Debug, Default)]
pub struct Ordering {
    graph: StableDiGraph<Point, ()>,
    tasks: Vec<NodeIndex>,
    at_once: Vec<bool>,
}

impl Ordering {
    /// A graph of that many tasks and no edges.
    pub fn new(tasks: usize, edges: usize) -> Self {
        let mut graph = StableDiGraph::with_capacity(tasks, edges);
        let tasks = (0..tasks).map(|number| graph.add_node(Point::Task(number))).collect();
        let at_once = vec![false; graph.node_count()];
        Self { graph, tasks, at_once }
    }

    /// `later` waits for `earlier`.
    pub fn edge(&mut self, earlier: usize, later: usize) {
        self.graph.add_edge(self.tasks[earlier], self.tasks[later], ());
    }

    /// `last` stands right behind `before`, whatever else could come next.
    pub fn behind(&mut self, before: usize, last: usize) {
        self.edge(before, last);
        self.at_once[last] = true;
    }

    /// Adds the points between waves: `first` and `last` give the first and last task of a machine by its number in
    /// the plan. One point a wave, so that the edges grow with the machines and not with their pairs.
    pub fn waves(&mut self, plan: &Plan, number: &HashMap<&str, usize>, first: &[usize], last: &[usize]) {
        let mut before: Option<NodeIndex> = None;
        for (at, wave) in plan.waves.iter().enumerate() {
            if let Some(before) = before {
                for machine in wave.machines.iter().filter_map(|name| number.get(name.0.as_ref())) {
                    self.graph.add_edge(before, self.tasks[first[*machine]], ());
                }
            }
            if at + 1 < plan.waves.len() {
                let next = self.graph.add_node(Point::WaveBegins(at + 1));
                if let Some(before) = before {
                    self.graph.add_edge(before, next, ());
                }
                for machine in wave.machines.iter().filter_map(|name| number.get(name.0.as_ref())) {
                    self.graph.add_edge(self.tasks[last[*machine]], next, ());
                }
                before = Some(next);
            }
        }
    }

    /// The tasks in order, or one shortest cycle.
    pub fn sort(&self) -> Result<Vec<usize>, Vec<Point>> {
        let mut waits_for: Vec<u32> = vec![0; self.graph.node_count()];
        for edge in self.graph.edge_indices() {
            let (_, later) = self.graph.edge_endpoints(edge).expect("the edge is in the graph");
            waits_for[later.index()] += 1;
        }
        // Points between waves come before any task, so that what they hold back is not put off.
        let rank = |node: NodeIndex| match self.graph[node] {
            Point::WaveBegins(_) => (0, node.index()),
            Point::Task(number) if self.at_once[number] => (0, node.index()),
            Point::Task(number) => (1, number),
        };
        let ready = self.graph.node_indices().filter(|node| waits_for[node.index()] == 0);
        let mut ready: BinaryHeap<_> = ready.map(|node| Reverse((rank(node), node))).collect();
        let mut order = Vec::with_capacity(self.tasks.len());
        while let Some(Reverse((_, node))) = ready.pop() {
            if let Point::Task(number) = self.graph[node] {
                order.push(number);
            }
            for later in self.graph.neighbors_directed(node, Direction::Outgoing) {
                waits_for[later.index()] -= 1;
                if waits_for[later.index()] == 0 {
                    ready.push(Reverse((rank(later), later)));
                }
            }
        }
        if order.len() == self.tasks.len() { Ok(order) } else { Err(self.shortest_cycle()) }
    }

    /// A shortest cycle through one node of a strongly connected component.
    fn shortest_cycle(&self) -> Vec<Point> {
        // Not tarjan: petgraph's is recursive, and a chain of machines may be as long as the plan.
        let components = kosaraju_scc(&self.graph);
        let component = components.iter().filter(|nodes| nodes.len() > 1).min_by_key(|nodes| nodes.len());
        let Some(component) = component else { return Vec::new() };
        let inside: std::collections::HashSet<NodeIndex> = component.iter().copied().collect();
        let start = component.iter().copied().min().expect("a component has nodes");
        let mut came_from: HashMap<NodeIndex, NodeIndex> = HashMap::new();
        let mut open = VecDeque::from([start]);
        while let Some(node) = open.pop_front() {
            for next in self.graph.neighbors_directed(node, Direction::Outgoing).filter(|next| inside.contains(next)) {
                if next == start {
                    let mut cycle = vec![node];
                    while let Some(before) = came_from.get(cycle.last().expect("it has a node")) {
                        cycle.push(*before);
                    }
                    cycle.reverse();
                    return cycle.into_iter().map(|node| self.graph[node]).collect();
                }
                if let std::collections::hash_map::Entry::Vacant(slot) = came_from.entry(next) {
                    slot.insert(node);
                    open.push_back(next);
                }
            }
        }
        Vec::new()
    }
}

/// Says which machines and waves wait for each other; `machine_of` gives a task's machine by number in the plan.
pub fn cycle_diagnostics(plan: &Plan, cycle: &[Point], machine_of: &dyn Fn(usize) -> Option<usize>) -> Diagnostics {
    let mut steps: Vec<(String, crate::diagnostic::Span)> = Vec::new();
    for point in cycle {
        let step = match point {
            Point::WaveBegins(at) => {
                let wave = &plan.waves[*at].name;
                (format!("wave `{}`", wave.value), wave.span.clone())
            }
            Point::Task(task) => match machine_of(*task) {
                Some(machine) => {
                    let name = &plan.machines[machine].name;
                    (format!("`{}`", name.value), name.span.clone())
                }
                None => continue,
            },
        };
        if steps.last().map(|(text, _)| text) != Some(&step.0) {
            steps.push(step);
        }
    }
    if steps.len() > 1 && steps.first().map(|s| &s.0) == steps.last().map(|s| &s.0) {
        steps.pop();
    }
    let mut path: Vec<&str> = steps.iter().map(|(text, _)| text.as_str()).collect();
    path.extend(steps.first().map(|(text, _)| text.as_str()));
    let message = format!("machines and waves wait for each other: {}", path.join(" before "));
    let mut diagnostic = Diagnostic::error("planner.cycle", message)
        .help("a machine cannot come `after` one of a later wave; move one of them, or drop the `after`");
    for (text, span) in &steps {
        diagnostic = diagnostic.at(span.clone(), format!("{text} is part of the circle"));
    }
    let mut found = Diagnostics::new();
    found.push(diagnostic);
    found
}
