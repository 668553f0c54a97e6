//! Which FIX a session speaks.

use std::fmt;

/// A session protocol: what tag 8 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// FIX 4.0.
    Fix40,
    /// FIX 4.1.
    Fix41,
    /// FIX 4.2.
    Fix42,
    /// FIX 4.3.
    Fix43,
    /// FIX 4.4.
    Fix44,
    /// The session layer under FIX 5.0 and later.
    Fixt11,
}

impl Version {
    /// All of them, the oldest first.
    pub const ALL: [Version; 6] = [
        Version::Fix40,
        Version::Fix41,
        Version::Fix42,
        Version::Fix43,
        Version::Fix44,
        Version::Fixt11,
    ];

    /// As in tag 8.
    pub const fn begin_string(self) -> &'static str {
        match self {
            Version::Fix40 => "FIX.4.0",
            Version::Fix41 => "FIX.4.1",
            Version::Fix42 => "FIX.4.2",
            Version::Fix43 => "FIX.4.3",
            Version::Fix44 => "FIX.4.4",
            Version::Fixt11 => "FIXT.1.1",
        }
    }

    /// The version that tag 8 names.
    pub fn of(begin_string: &[u8]) -> Option<Version> {
        Version::ALL
            .into_iter()
            .find(|version| version.begin_string().as_bytes() == begin_string)
    }

    /// Whether times carry milliseconds, which FIX 4.2 brought.
    pub const fn has_milliseconds(self) -> bool {
        !matches!(self, Version::Fix40 | Version::Fix41)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.begin_string())
    }
}

/// What is said over FIXT 1.1: the values of DefaultApplVerID (1137) that this crate is used with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApplVersion {
    /// FIX 5.0.
    Fix50,
    /// FIX 5.0 with service pack 1.
    Fix50Sp1,
    /// FIX 5.0 with service pack 2.
    Fix50Sp2,
}

impl ApplVersion {
    /// As in tag 1137.
    pub const fn id(self) -> &'static str {
        match self {
            ApplVersion::Fix50 => "7",
            ApplVersion::Fix50Sp1 => "8",
            ApplVersion::Fix50Sp2 => "9",
        }
    }

    /// The version that tag 1137 names.
    pub fn of(id: &[u8]) -> Option<ApplVersion> {
        [
            ApplVersion::Fix50,
            ApplVersion::Fix50Sp1,
            ApplVersion::Fix50Sp2,
        ]
        .into_iter()
        .find(|version| version.id().as_bytes() == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for version in Version::ALL {
            assert_eq!(
                Version::of(version.begin_string().as_bytes()),
                Some(version)
            );
        }
        assert_eq!(Version::of(b"FIX.3.9"), None);
        assert_eq!(ApplVersion::of(b"9"), Some(ApplVersion::Fix50Sp2));
        assert_eq!(ApplVersion::of(b"6"), None);
        assert!(Version::Fix42.has_milliseconds() && !Version::Fix41.has_milliseconds());
    }
}
