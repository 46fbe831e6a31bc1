//! Options of a target.

use std::str::FromStr;

/// The arguments of the process, taken one by one.
pub struct Options(pico_args::Arguments);

impl Options {
    /// The arguments after the program's name.
    pub fn from_env() -> Self {
        Self(pico_args::Arguments::from_env())
    }

    /// Whether `--name` is there.
    pub fn flag(&mut self, name: &'static str) -> bool {
        self.0.contains(name)
    }

    /// The value of `--name VALUE` or `--name=VALUE`, or `None` where it is not there.
    ///
    /// # Errors
    /// A sentence that names the option, when its value is missing or does not parse.
    pub fn value<T: FromStr>(&mut self, name: &'static str) -> Result<Option<T>, String>
    where
        T::Err: std::fmt::Display,
    {
        self.0
            .opt_value_from_str(name)
            .map_err(|error| format!("wrong value of `{name}`: {error}"))
    }

    /// The next argument that is no option, described as `what`. Take it after all options.
    ///
    /// # Errors
    /// A sentence that names `what`, when there is none.
    pub fn free(&mut self, what: &str) -> Result<String, String> {
        self.0
            .free_from_str()
            .map_err(|_| format!("the {what} is missing"))
    }

    /// Ends the parsing.
    ///
    /// # Errors
    /// A sentence that names the arguments nobody took.
    pub fn finish(self) -> Result<(), String> {
        let rest = self.0.finish();
        if rest.is_empty() {
            Ok(())
        } else {
            Err(format!("unknown arguments {rest:?}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Options {
        Options(pico_args::Arguments::from_vec(
            arguments.iter().map(Into::into).collect(),
        ))
    }

    #[test]
    fn takes_flags_values_and_free_arguments() {
        let mut options = options(&["--calls", "7", "--wait", "file"]);
        assert!(options.flag("--wait"));
        assert_eq!(options.value::<u64>("--calls"), Ok(Some(7)));
        assert_eq!(options.value::<u64>("--rate"), Ok(None));
        assert_eq!(options.free("file").as_deref(), Ok("file"));
        assert_eq!(options.finish(), Ok(()));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(options(&["--wat"]).finish().unwrap_err().contains("--wat"));
        assert!(
            options(&["--calls", "x"])
                .value::<u64>("--calls")
                .unwrap_err()
                .contains("--calls")
        );
    }
}
