//! Sets of cores, as the system writes them: `2-5,7`, or as a mask `ff,00000000`.

use std::collections::BTreeSet;
use std::fmt;

/// No machine has more; what names more is not a list of cores.
const CPUS_MAX: usize = 16_384;

/// A set of cores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpus(BTreeSet<usize>);

impl Cpus {
    /// Reads `2-5,7`. An empty text is the empty set, and so is what old kernels write for it.
    pub fn parse(text: &str) -> Result<Cpus, String> {
        let text = text.trim();
        let mut cpus = BTreeSet::new();
        if text.is_empty() || text == "(null)" {
            return Ok(Cpus(cpus));
        }
        let bad = || format!("`{}` is no list of cores", super::tree::clip(text));
        for range in text.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let first: usize = first.trim().parse().map_err(|_| bad())?;
            let last: usize = last.trim().parse().map_err(|_| bad())?;
            if first > last || last >= CPUS_MAX {
                return Err(bad());
            }
            cpus.extend(first..=last);
        }
        Ok(Cpus(cpus))
    }

    /// Reads a mask in groups of 32 bits, the highest first.
    pub fn parse_mask(text: &str) -> Result<Cpus, String> {
        let text = text.trim();
        let bad = || format!("`{}` is no mask of cores", super::tree::clip(text));
        let mut cpus = BTreeSet::new();
        let groups: Vec<&str> = text.split(',').collect();
        if groups.len() > CPUS_MAX / 32 {
            return Err(bad());
        }
        for (place, group) in groups.iter().rev().enumerate() {
            let bits = u32::from_str_radix(group.trim(), 16).map_err(|_| bad())?;
            cpus.extend(
                (0..32)
                    .filter(|bit| bits >> bit & 1 == 1)
                    .map(|bit| place * 32 + bit),
            );
        }
        Ok(Cpus(cpus))
    }

    /// Whether it has this core.
    pub fn has(&self, cpu: usize) -> bool {
        self.0.contains(&cpu)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().copied()
    }

    /// What is in both.
    pub fn and(&self, other: &Cpus) -> Cpus {
        self.iter().filter(|&cpu| other.has(cpu)).collect()
    }

    /// What is here and not there.
    pub fn without(&self, other: &Cpus) -> Cpus {
        self.iter().filter(|&cpu| !other.has(cpu)).collect()
    }

    /// The numbers, for a shell's `for`.
    pub fn words(&self) -> String {
        let words: Vec<String> = self.iter().map(|cpu| cpu.to_string()).collect();
        words.join(" ")
    }
}

impl FromIterator<usize> for Cpus {
    fn from_iter<I: IntoIterator<Item = usize>>(cpus: I) -> Cpus {
        Cpus(cpus.into_iter().collect())
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.iter().peekable();
        let mut is_first = true;
        while let Some(first) = cpus.next() {
            let mut last = first;
            while let Some(next) = cpus.next_if(|&next| next == last + 1) {
                last = next;
            }
            let comma = if is_first { "" } else { "," };
            is_first = false;
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        if is_first {
            f.write_str("none")
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written_back() {
        for text in ["0", "0-3", "2-5,7", "1,3,5-6"] {
            assert_eq!(Cpus::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Cpus::parse("\n").unwrap().to_string(), "none");
        assert_eq!(Cpus::parse("(null)").unwrap(), Cpus::default());
    }

    #[test]
    fn masks_are_read() {
        assert_eq!(Cpus::parse_mask("f").unwrap().to_string(), "0-3");
        assert_eq!(Cpus::parse_mask("3,80000000").unwrap().to_string(), "31-33");
        assert!(Cpus::parse_mask("xyz").is_err());
    }

    #[test]
    fn what_is_no_list_takes_no_memory() {
        for text in [
            "0-18446744073709551615",
            "99999999",
            "5-2",
            "1,,2",
            "-3",
            "a",
        ] {
            assert!(Cpus::parse(text).is_err(), "{text}");
        }
    }
}
