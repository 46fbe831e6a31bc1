//! `exoscope tree`: calls merged by the path that led to them.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use super::human::{count, duration, printable, total};
use super::table::{Layout, Table};
use super::{terminal_width, write_json};
use crate::query::open_readonly;
use crate::query::tree::TreeNode;

/// Options of `exoscope tree`.
#[derive(Clone, Debug, clap::Args)]
pub struct TreeArgs {
    /// A file, finished or being written.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Show only so many levels.
    #[arg(long, value_name = "N")]
    pub depth: Option<usize>,
    /// Leave out what took less than this share of all roots' time.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub min_percent: f64,
    /// Print JSON: one object.
    #[arg(long)]
    pub json: bool,
}

/// The JSON.
#[derive(Debug, Serialize)]
struct Tree {
    roots: Vec<TreeNode>,
}

/// Prints the call tree, the largest total first.
///
/// # Errors
/// Where the file can't be read or `out` can't be written.
pub fn tree(args: &TreeArgs, out: &mut dyn Write) -> Result<()> {
    let mut roots = open_readonly(&args.file)?.tree()?;
    let all = total(roots.iter().map(|root| root.total_ns));
    let least = (all as f64 * args.min_percent / 100.0) as i64;
    prune(&mut roots, args.depth.unwrap_or(usize::MAX), least);
    let mut out = BufWriter::new(out);
    if args.json {
        write_json(&Tree { roots }, &mut out)?;
    } else {
        write_text(&roots, &mut out)?;
    }
    Ok(out.flush()?)
}

/// Takes out what is too deep or too small.
fn prune(nodes: &mut Vec<TreeNode>, depth: usize, least: i64) {
    if depth == 0 {
        nodes.clear();
    }
    nodes.retain(|node| node.total_ns >= least);
    for node in nodes {
        prune(&mut node.children, depth - 1, least);
    }
}

fn write_text(roots: &[TreeNode], out: &mut dyn Write) -> Result<()> {
    let columns = [
        ("total", Layout::Number),
        ("self", Layout::Number),
        ("calls", Layout::Number),
        ("err", Layout::Number),
        ("panic", Layout::Number),
        ("function", Layout::Text),
    ];
    let mut table = Table::new(&columns, terminal_width());
    for root in roots {
        push(root, "", "", &mut table, out)?;
    }
    table.print(out)?;
    if roots.is_empty() {
        writeln!(out, "no call is in this file, or all were left out")?;
    }
    Ok(())
}

/// Adds a node, drawn behind `branch`, and its children, drawn behind `stem`.
fn push(
    node: &TreeNode,
    branch: &str,
    stem: &str,
    table: &mut Table,
    out: &mut dyn Write,
) -> Result<()> {
    let cells = vec![
        duration(node.total_ns),
        duration(node.self_ns),
        count(node.calls),
        count(node.err),
        count(node.panic),
        format!("{branch}{}", printable(&node.function)),
    ];
    table.push(cells, out)?;
    for (index, child) in node.children.iter().enumerate() {
        let last = index + 1 == node.children.len();
        let branch = format!("{stem}{}", if last { "└─ " } else { "├─ " });
        let stem = format!("{stem}{}", if last { "   " } else { "│  " });
        push(child, &branch, &stem, table, out)?;
    }
    Ok(())
}
