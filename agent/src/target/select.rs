//! Choosing functions by their full path.

use anyhow::{Context as _, Result, bail};
use globset::{GlobBuilder, GlobMatcher};

use crate::event::Function;

/// Near names that an error lists at most.
const SUGGESTIONS: usize = 5;

/// Which functions of the target are captured.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    include: Vec<GlobMatcher>,
    exclude: Vec<GlobMatcher>,
}

impl Selection {
    /// What matches one of `include` (all, where it is empty) and none of `exclude`.
    ///
    /// In a pattern `*` stands for any text, `?` for one character, `[ab]` for one of a set and
    /// `{a,b}` for alternatives.
    ///
    /// # Errors
    /// Where a pattern can't be read.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self> {
        let compile = |patterns: &[String]| {
            patterns
                .iter()
                .map(|pattern| glob(pattern))
                .collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            include: compile(include)?,
            exclude: compile(exclude)?,
        })
    }

    /// Whether a function with this full path is captured.
    pub fn contains(&self, path: &str) -> bool {
        let included =
            self.include.is_empty() || self.include.iter().any(|glob| glob.is_match(path));
        included && !self.exclude.iter().any(|glob| glob.is_match(path))
    }

    /// Fails where a pattern of `include` matches none of `functions`, or where nothing is left.
    ///
    /// # Errors
    /// One sentence that lists near names.
    pub fn check(&self, functions: &[Function]) -> Result<()> {
        for glob in &self.include {
            if !functions
                .iter()
                .any(|function| glob.is_match(&function.path))
            {
                let paths = functions.iter().map(|function| function.path.as_str());
                let near = nearest(glob.glob().glob(), paths);
                bail!(
                    "no instrumented function matches --functions '{}'; near names: {near} \
                     (`exoscope sites` lists all {})",
                    glob.glob().glob(),
                    functions.len(),
                );
            }
        }
        if !functions
            .iter()
            .any(|function| self.contains(&function.path))
        {
            bail!(
                "no function is left to capture: --exclude takes out everything that --functions chose"
            );
        }
        Ok(())
    }
}

/// Compiles a pattern; also used to filter rows.
///
/// # Errors
/// Where the pattern can't be read.
pub fn glob(pattern: &str) -> Result<GlobMatcher> {
    let glob = GlobBuilder::new(pattern)
        .literal_separator(false)
        .backslash_escape(true)
        .build()
        .with_context(|| format!("can't read the pattern '{pattern}'"))?;
    Ok(glob.compile_matcher())
}

/// The paths nearest to a pattern, quoted and separated by commas.
pub fn nearest<'a>(pattern: &str, paths: impl Iterator<Item = &'a str>) -> String {
    let wanted = pattern.replace(['*', '?'], "");
    let mut near: Vec<(f64, &str)> = paths
        .map(|path| (-strsim::jaro_winkler(&wanted, path), path))
        .collect();
    near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(b.1)));
    near.dedup();
    let names = near
        .iter()
        .take(SUGGESTIONS)
        .map(|(_, path)| format!("'{path}'"));
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(path: &str) -> Function {
        Function {
            path: path.to_owned(),
            file: "src/lib.rs".to_owned(),
            line: 1,
        }
    }

    fn strings(patterns: &[&str]) -> Vec<String> {
        patterns
            .iter()
            .map(|pattern| (*pattern).to_owned())
            .collect()
    }

    #[test]
    fn star_crosses_modules_and_exclude_wins() {
        let selection = Selection::new(&strings(&["shop::*"]), &strings(&["*::secret"])).unwrap();
        assert!(selection.contains("shop::store::Store::get"));
        assert!(!selection.contains("shop::store::secret"));
        assert!(!selection.contains("other::get"));
    }

    #[test]
    fn a_pattern_without_a_match_names_near_ones() {
        let functions = [function("shop::store::get"), function("shop::http::order")];
        let selection = Selection::new(&strings(&["shop::stor::get"]), &[]).unwrap();
        let error = selection.check(&functions).unwrap_err().to_string();
        assert!(error.contains("near names: 'shop::store::get'"), "{error}");
    }
}
