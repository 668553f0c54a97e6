//! Passwords: in the settings themselves, in a file, or in the environment.
//!
//! ```text
//! password = "secret"              it is kept with the run's settings, which then only their owner may read
//! password_file = "desk.password"  its first line; nothing is kept but the file's name
//! password_env = "DESK_PASSWORD"   nothing is kept but the variable's name
//! ```
//!
//! A file and a variable are read when a session begins, also by a run that goes on.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A password's file has no more bytes than this.
const FILE_BYTES_MAX: u64 = 4096;
/// What is shown for a password: longer than any may be, so that nobody logs in with it.
const HIDDEN: &str = "(not shown)";

/// A password, which is not shown where values are shown for people.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { HIDDEN })
    }
}

impl Password {
    /// Whether there is one.
    pub fn is_some(&self) -> bool {
        !self.0.is_empty()
    }

    /// Puts what is shown in its place.
    pub fn hide(&mut self) {
        if self.is_some() {
            self.0 = HIDDEN.into();
        }
    }
}

/// Where a table of the settings has its password from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys<'a> {
    /// The table, `orders.ouch`.
    pub table: &'static str,
    /// Its keys `password`, ...
    pub word: &'a Password,
    /// ... `password_file` ...
    pub file: Option<&'a Path>,
    /// ... and `password_env`.
    pub env: Option<&'a str>,
}

impl Keys<'_> {
    /// That there is one of them at most, and that a variable has a name.
    pub(super) fn check(&self) -> Result<(), String> {
        let table = self.table;
        let given = [self.word.is_some(), self.file.is_some(), self.env.is_some()];
        if given.into_iter().filter(|is_given| *is_given).count() > 1 {
            return Err(format!(
                "{table}: want one of password, password_file and password_env"
            ));
        }
        match self.env {
            Some(name) if name.is_empty() || name.contains(['=', '\0']) => Err(format!(
                "{table}.password_env is {name:?}, want the name of a variable"
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether it stands somewhere else, and is known only when it is read.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.file.is_some() || self.env.is_some()
    }

    /// The password; empty where there is none. An error names the key and the place, and never what
    /// stands there.
    pub(super) fn read(&self) -> Result<String, String> {
        let table = self.table;
        match (self.file, self.env) {
            (Some(path), _) => first_line(path)
                .map_err(|what| format!("{table}.password_file: {}: {what}", path.display())),
            (None, Some(name)) => match std::env::var(name) {
                Ok(word) if word.is_empty() => Err("is set to nothing"),
                Ok(word) => Ok(word),
                Err(std::env::VarError::NotPresent) => Err("is not set"),
                Err(std::env::VarError::NotUnicode(_)) => Err("is not UTF-8"),
            }
            .map_err(|what| {
                format!("{table}.password_env: the variable {name} {what}, want the password")
            }),
            (None, None) => Ok(self.word.0.clone()),
        }
    }
}

/// The only line of a file.
fn first_line(path: &Path) -> Result<String, String> {
    // A pipe or a device would be waited for, or have no end.
    let what = fs::metadata(path).map_err(|error| error.to_string())?;
    if !what.is_file() {
        return Err("no file of text, want the password in its only line".into());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "not UTF-8, want the password".to_owned())?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line {
        "" => Err("no password in it, want it in its only line".into()),
        _ if text.len() as u64 > FILE_BYTES_MAX || line.contains('\n') => {
            Err("more than a line, want the password in its only one".into())
        }
        line => Ok(line.into()),
    }
}

/// A file that stands beside the settings, from wherever the run goes on.
pub(super) fn stand_in(
    table: &str,
    file: &mut Option<PathBuf>,
    folder: &Path,
) -> Result<(), String> {
    let Some(path) = file else {
        return Ok(());
    };
    let absolute = std::path::absolute(folder.join(&*path));
    *path = absolute.map_err(|e| format!("{table}.password_file: {e}"))?;
    match path.to_str() {
        Some(_) => Ok(()),
        None => Err(format!(
            "{table}.password_file: {}: not UTF-8",
            path.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys<'a>(word: &'a Password, file: Option<&'a Path>, env: Option<&'a str>) -> Keys<'a> {
        let table = "orders.ouch";
        Keys {
            table,
            word,
            file,
            env,
        }
    }

    #[test]
    fn one_place_and_no_other() {
        let (none, word) = (Password::default(), Password("secret".into()));
        let file = Some(Path::new("p"));
        for (word, file, env, is_good) in [
            (&none, None, None, true),
            (&word, None, None, true),
            (&none, file, None, true),
            (&none, None, Some("P"), true),
            (&word, file, None, false),
            (&word, None, Some("P"), false),
            (&none, file, Some("P"), false),
            (&none, None, Some(""), false),
            (&none, None, Some("A=B"), false),
        ] {
            let checked = keys(word, file, env).check();
            assert_eq!(checked.is_ok(), is_good, "{checked:?}");
        }
        assert_eq!(keys(&word, None, None).read(), Ok("secret".into()));
    }

    #[test]
    fn a_file_has_one_line_and_an_error_names_it_and_not_what_is_in_it() {
        let none = Password::default();
        let path = std::env::temp_dir().join(format!("tapeline-password-{}", std::process::id()));
        let read = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            keys(&none, Some(&path), None).read()
        };
        for text in ["secret", "secret\n", "secret\r\n"] {
            assert_eq!(read(text.as_bytes()), Ok("secret".into()));
        }
        assert_eq!(read(b" two words \n"), Ok(" two words ".into()));
        let place = format!("orders.ouch.password_file: {}: ", path.display());
        let long = [b's'; 5000];
        for (bytes, want) in [
            (&b""[..], "no password in it"),
            (b"\n", "no password in it"),
            (b"secret\nsecret\n", "more than a line"),
            (b"secret\n\n", "more than a line"),
            (&long, "more than a line"),
            (b"secret\xff", "not UTF-8"),
        ] {
            let said = read(bytes).unwrap_err();
            assert!(
                said.starts_with(&format!("{place}{want}")) && !said.contains("secret"),
                "{said}"
            );
        }
        fs::remove_file(&path).unwrap();
        let said = keys(&none, Some(&path), None).read().unwrap_err();
        assert!(
            said.starts_with(&place) && said.contains("No such file"),
            "{said}"
        );
        let said = keys(&none, Some(Path::new("/dev/zero")), None)
            .read()
            .unwrap_err();
        assert!(said.contains("/dev/zero: no file of text"), "{said}");
        let said = keys(&none, None, Some("TAPELINE_NO_SUCH_VARIABLE"))
            .read()
            .unwrap_err();
        assert_eq!(
            said,
            "orders.ouch.password_env: the variable TAPELINE_NO_SUCH_VARIABLE is not set, want the \
             password"
        );
    }

    #[test]
    fn nothing_shows_it() {
        let mut word = Password("secret".into());
        let shown = format!("{word:?} {:?}", keys(&word, None, None));
        assert!(!shown.contains("secret"), "{shown}");
        word.hide();
        // Nobody logs in with what is shown.
        assert!(bus::soupbintcp::Login::new("me", &word.0, "", 1).is_none());
    }
}
