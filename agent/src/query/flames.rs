//! What a flame graph is drawn of: paths of functions, each with the time that was spent at its end.

use std::collections::HashMap;

use anyhow::Result;

use super::tree::{Figure, TreeNode};
use super::{Database, explain};

/// What the width of a flame stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlamesBy {
    /// A figure of the captured calls.
    Calls(Figure),
    /// Samples of running threads.
    Samples,
    /// Samples of threads that were off the CPU.
    OffCpu,
}

/// A path, the root first, and the nanoseconds at its end; paths below it have their own.
pub type Flame = (Vec<String>, i64);

impl Database {
    /// The flames, in the order of their paths. None where nothing was captured of what is asked for.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub fn flames(&self, by: FlamesBy) -> Result<Vec<Flame>> {
        let mut flames = match by {
            FlamesBy::Calls(figure) => {
                let mut flames = Vec::new();
                add(&self.tree_by(figure)?, &mut Vec::new(), &mut flames);
                flames
            }
            FlamesBy::Samples => self.stack_flames(false)?,
            FlamesBy::OffCpu => self.stack_flames(true)?,
        };
        flames.sort_unstable();
        Ok(flames)
    }

    fn stack_flames(&self, off_cpu: bool) -> Result<Vec<Flame>> {
        let frames = self.frames()?;
        let sums = self.select(
            "SELECT k.frames, a.ns FROM (
               SELECT stack_id, sum(ns) AS ns FROM samples WHERE off_cpu = ?1 GROUP BY stack_id) a
             JOIN stack k ON k.stack_id = a.stack_id",
            [off_cpu],
            |row| Ok((row.get::<_, String>(0)?, row.get(1)?)),
        )?;
        let mut flames: HashMap<Vec<String>, i64> = HashMap::new();
        for (stack, ns) in sums {
            // A list that somebody else wrote may hold anything.
            let stack: Vec<i64> = serde_json::from_str(&stack).unwrap_or_default();
            let names = stack.iter().filter_map(|frame| frames.get(frame).cloned());
            let sum = flames.entry(names.collect()).or_default();
            *sum = sum.saturating_add(ns);
        }
        flames.remove(&Vec::new());
        Ok(flames.into_iter().collect())
    }

    /// Function by number of the frame.
    fn frames(&self) -> Result<HashMap<i64, String>> {
        let read = || -> rusqlite::Result<_> {
            self.connection
                .prepare("SELECT frame_id, function FROM frame")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        };
        read().map_err(|error| explain(&self.path, error))
    }
}

/// Adds what each node has for itself, below `path`.
fn add(nodes: &[TreeNode], path: &mut Vec<String>, flames: &mut Vec<Flame>) {
    for node in nodes {
        path.push(node.function.clone());
        if node.self_ns > 0 {
            flames.push((path.clone(), node.self_ns));
        }
        add(&node.children, path, flames);
        path.pop();
    }
}
