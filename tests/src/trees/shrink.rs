//! Finding a small part of a program that still fails.

/// A call of a program that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub number: u32,
    /// Calls around it.
    pub depth: usize,
}

/// Reads the calls out of the text of a program: lines of a number after two spaces a level.
pub fn nodes(text: &str) -> Vec<Node> {
    let node = |line: &str| {
        let body = line.trim_start();
        let number = body.split(' ').next()?.parse().ok()?;
        let depth = (line.len() - body.len()) / 2;
        Some(Node { number, depth })
    };
    text.lines().filter_map(node).collect()
}

/// Leaves out calls, each with everything inside it, as long as the program still `fails` without
/// them. Gives the numbers of those that it left out. Asks at most `tries` times.
///
/// The outermost calls come first, and of those of one depth all, then halves, then quarters: what
/// fails is often one of very many.
pub fn shrink(nodes: &[Node], tries: usize, mut fails: impl FnMut(&[u32]) -> bool) -> Vec<u32> {
    let mut without = Vec::new();
    let mut left = tries;
    let deepest = nodes.iter().map(|node| node.depth).max().unwrap_or(0);
    for depth in 0..=deepest {
        let mut level = at_depth(nodes, depth, &without);
        let mut size = level.len();
        while size > 0 {
            let mut kept = Vec::new();
            for part in level.chunks(size) {
                let candidate = [&without, part].concat();
                let needless = left > 0 && fails(&candidate);
                left = left.saturating_sub(1);
                if needless {
                    without = candidate;
                } else {
                    kept.extend_from_slice(part);
                }
            }
            level = kept;
            size = (size / 2).min(level.len());
        }
    }
    without
}

/// Numbers of the calls at `depth` that are not inside of those that are left out.
fn at_depth(nodes: &[Node], depth: usize, without: &[u32]) -> Vec<u32> {
    let mut outside = usize::MAX;
    let mut level = Vec::new();
    for node in nodes {
        if node.depth > outside {
            continue;
        }
        outside = usize::MAX;
        if without.contains(&node.number) {
            outside = node.depth;
        } else if node.depth == depth {
            level.push(node.number);
        }
    }
    level
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "tree 7 (at most 9 calls)\n  0 a\n    1 b\n    2 c\n    - pause\n      3 d\n  4 a\n    5 e\n";

    #[test]
    fn calls_are_read_with_their_depths() {
        let read: Vec<_> = nodes(TEXT)
            .iter()
            .map(|node| (node.number, node.depth))
            .collect();
        assert_eq!(read, [(0, 1), (1, 2), (2, 2), (3, 3), (4, 1), (5, 2)]);
    }

    #[test]
    fn only_what_fails_is_left() {
        // It takes the call 3, and so those around it.
        let fails = |without: &[u32]| ![0, 2, 3].iter().any(|number| without.contains(number));
        let mut without = shrink(&nodes(TEXT), 100, fails);
        without.sort_unstable();
        assert_eq!(without, [1, 4]);
    }

    #[test]
    fn nobody_is_asked_more_often_than_that() {
        let mut asked = 0;
        let never = |_: &[u32]| {
            asked += 1;
            false
        };
        assert_eq!(shrink(&nodes(TEXT), 3, never), [0; 0]);
        assert_eq!(asked, 3);
    }
}
