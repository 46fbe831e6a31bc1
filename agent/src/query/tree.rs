//! Calls merged by the path of functions that led to them.
//!
//! A recursive call is merged into the node of its function on the path, so a tree is as deep as
//! there are functions, however deep the recursion was. Its calls and its own time count there; its
//! total does not, for it is part of the total of an outer call of the same function.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Result;
use exoscope_abi::Outcome;
use serde::Serialize;

use super::{Database, explain};

/// One function as reached by one path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TreeNode {
    /// Full path of the function.
    pub function: String,
    /// Source file.
    pub file: String,
    /// Line in it.
    pub line: i64,
    /// Calls, recursive ones included.
    pub calls: i64,
    /// Calls that ended in an error.
    pub err: i64,
    /// Calls that ended in a panic.
    pub panic: i64,
    /// Nanoseconds of the calls, recursive ones not counted again.
    pub total_ns: i64,
    /// Nanoseconds less those of the captured calls made directly.
    pub self_ns: i64,
    /// What these calls called, the largest total first.
    pub children: Vec<TreeNode>,
}

/// A call as the tree needs it.
struct Call {
    id: i64,
    parent: Option<i64>,
    function: i64,
    duration_ns: i64,
    self_ns: i64,
    outcome: i64,
}

/// A node while the tree grows.
struct Growing {
    function: i64,
    /// Index of the parent's node; none for a root.
    parent: Option<usize>,
    children: BTreeMap<i64, usize>,
    sums: TreeNode,
}

/// Where a call with children stands.
#[derive(Clone, Copy)]
struct Place {
    /// Index of its node.
    node: usize,
    /// Index of the functions that are open while it runs.
    open: usize,
}

/// Sets of functions that were open at one time, each made of a smaller one and a function. A call
/// may be merged into a node far above the call that made it, so nodes do not tell what was open.
#[derive(Default)]
struct OpenSets {
    sets: Vec<(Option<usize>, i64)>,
    index: HashMap<(Option<usize>, i64), usize>,
}

impl OpenSets {
    fn contains(&self, mut set: Option<usize>, function: i64) -> bool {
        while let Some(index) = set {
            let (smaller, added) = self.sets[index];
            if added == function {
                return true;
            }
            set = smaller;
        }
        false
    }

    /// The set with a function that it does not contain.
    fn with(&mut self, set: Option<usize>, function: i64) -> usize {
        let next = self.sets.len();
        let index = *self.index.entry((set, function)).or_insert(next);
        if index == next {
            self.sets.push((set, function));
        }
        index
    }
}

/// The nodes, in the order in which they were found: a parent before its children.
#[derive(Default)]
struct Forest {
    nodes: Vec<Growing>,
    roots: BTreeMap<i64, usize>,
    open_sets: OpenSets,
    /// Places of the calls that have children.
    of_call: HashMap<i64, Place>,
    /// Calls whose parent has not been met yet, by parent.
    waiting: HashMap<i64, Vec<Call>>,
    /// A call's own share is not in the file: it is what its children leave of the total.
    shares_are_computed: bool,
}

/// What the nodes of a tree are summed up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Time from a call's beginning to its end.
    Wall,
    /// Time on a CPU.
    Cpu,
    /// Time waiting for something else than a CPU.
    Blocked,
}

impl Database {
    /// The calls of all sessions as trees, the largest total first.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub fn tree(&self) -> Result<Vec<TreeNode>> {
        self.tree_by(Figure::Wall)
    }

    /// As [`Database::tree`], with the sums of a figure in place of the durations. A call of which
    /// the figure is not known counts as 0.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub fn tree_by(&self, figure: Figure) -> Result<Vec<TreeNode>> {
        let grown = self
            .parents()
            .and_then(|parents| self.grow(&parents, figure));
        let forest = grown.map_err(|error| explain(&self.path, error))?;
        let names = self.names().map_err(|error| explain(&self.path, error))?;
        Ok(forest.finish(&names))
    }

    /// The calls that have children, and are in the file themselves.
    fn parents(&self) -> rusqlite::Result<HashSet<i64>> {
        let sql = "SELECT DISTINCT child.call_id - child.parent_step FROM call child
                   WHERE child.parent_step IS NOT NULL AND EXISTS (
                     SELECT 1 FROM call WHERE call_id = child.call_id - child.parent_step)";
        self.connection
            .prepare(sql)?
            .query_map([], |row| row.get(0))?
            .collect()
    }

    /// Function number to path, file and line.
    fn names(&self) -> rusqlite::Result<HashMap<i64, (String, String, i64)>> {
        self.connection
            .prepare("SELECT function_id, path, file, line FROM function")?
            .query_map([], |row| {
                Ok((row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?)))
            })?
            .collect()
    }

    fn grow(&self, parents: &HashSet<i64>, figure: Figure) -> rusqlite::Result<Forest> {
        let sql = match figure {
            Figure::Wall => {
                "SELECT call_id, call_id - parent_step, function_id, duration_ns,
                   coalesce(self_ns, duration_ns), outcome FROM call"
            }
            Figure::Cpu => {
                "SELECT call_id, call_id - parent_step, function_id, figure, figure, outcome FROM (
                   SELECT call.*, coalesce(coalesce(polled_ns, duration_ns) - runqueue_ns - blocked_ns, 0)
                     AS figure
                   FROM call LEFT JOIN call_polls USING (call_id))"
            }
            Figure::Blocked => {
                "SELECT call_id, call_id - parent_step, function_id, figure, figure, outcome FROM (
                   SELECT *, coalesce(blocked_ns, 0) AS figure FROM call)"
            }
        };
        let mut forest = Forest {
            shares_are_computed: figure != Figure::Wall,
            ..Forest::default()
        };
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let parent: Option<i64> = row.get(1)?;
            let call = Call {
                id: row.get(0)?,
                // A parent that was lost makes its children roots.
                parent: parent.filter(|parent| parents.contains(parent)),
                function: row.get(2)?,
                duration_ns: row.get(3)?,
                self_ns: row.get(4)?,
                outcome: row.get(5)?,
            };
            forest.take(call, parents);
        }
        Ok(forest)
    }
}

impl Forest {
    /// Adds a call, and whatever waited for it. Calls are numbered on each CPU by itself, so a
    /// parent may have a higher number than its child.
    fn take(&mut self, call: Call, parents: &HashSet<i64>) {
        let mut ready = vec![call];
        while let Some(call) = ready.pop() {
            let parent = match call.parent {
                None => None,
                Some(id) => match self.of_call.get(&id) {
                    Some(&place) => Some(place),
                    None => {
                        self.waiting.entry(id).or_default().push(call);
                        continue;
                    }
                },
            };
            let place = self.add(&call, parent);
            if parents.contains(&call.id) {
                self.of_call.insert(call.id, place);
                ready.extend(self.waiting.remove(&call.id).unwrap_or_default());
            }
        }
    }

    /// Counts a call; gives back where it stands.
    fn add(&mut self, call: &Call, parent: Option<Place>) -> Place {
        let above = parent.map(|parent| parent.node);
        if let Some(node) = above.filter(|_| self.shares_are_computed) {
            let sums = &mut self.nodes[node].sums;
            sums.self_ns = sums.self_ns.saturating_sub(call.self_ns);
        }
        let node = self
            .on_path(call.function, above)
            .unwrap_or_else(|| self.child(call.function, above));
        let sums = &mut self.nodes[node].sums;
        sums.calls += 1;
        sums.err += i64::from(call.outcome == Outcome::Err as i64);
        sums.panic += i64::from(call.outcome == Outcome::Panic as i64);
        sums.self_ns = sums.self_ns.saturating_add(call.self_ns);
        let open = parent.map(|parent| parent.open);
        match open {
            Some(open) if self.open_sets.contains(Some(open), call.function) => {
                Place { node, open }
            }
            _ => {
                sums.total_ns = sums.total_ns.saturating_add(call.duration_ns);
                let open = self.open_sets.with(open, call.function);
                Place { node, open }
            }
        }
    }

    /// The node of `function` at or above `from`.
    fn on_path(&self, function: i64, mut from: Option<usize>) -> Option<usize> {
        while let Some(node) = from {
            if self.nodes[node].function == function {
                return from;
            }
            from = self.nodes[node].parent;
        }
        None
    }

    fn child(&mut self, function: i64, parent: Option<usize>) -> usize {
        let next = self.nodes.len();
        let siblings = match parent {
            Some(parent) => &mut self.nodes[parent].children,
            None => &mut self.roots,
        };
        let node = *siblings.entry(function).or_insert(next);
        if node == next {
            self.nodes.push(Growing {
                function,
                parent,
                children: BTreeMap::new(),
                sums: TreeNode::default(),
            });
        }
        node
    }

    /// Names the nodes and hangs each below its parent. Children stand behind their parents in the
    /// list, so from its end every node is whole when its turn comes.
    fn finish(mut self, names: &HashMap<i64, (String, String, i64)>) -> Vec<TreeNode> {
        let mut roots = Vec::new();
        while let Some(mut grown) = self.nodes.pop() {
            if let Some((path, file, line)) = names.get(&grown.function) {
                grown.sums.function.clone_from(path);
                grown.sums.file.clone_from(file);
                grown.sums.line = *line;
            }
            // A child that ran beside its parent may leave less than nothing.
            grown.sums.self_ns = grown.sums.self_ns.max(0);
            sort(&mut grown.sums.children);
            match grown.parent {
                Some(parent) => self.nodes[parent].sums.children.push(grown.sums),
                None => roots.push(grown.sums),
            }
        }
        sort(&mut roots);
        roots
    }
}

fn sort(nodes: &mut [TreeNode]) {
    nodes.sort_by(|a, b| {
        b.total_ns
            .cmp(&a.total_ns)
            .then(a.function.cmp(&b.function))
    });
}
