//! Which file system and which disk a folder is on.

use super::tree::{Answer, Tree, clip};

/// A mounted file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub at: String,
    /// `ext4`, `xfs`, ...
    pub kind: String,
    /// What is mounted, such as `/dev/sda1`.
    pub source: String,
    /// Its options, its own and the file system's.
    pub options: String,
    /// Its device's numbers, `8:1`.
    pub numbers: String,
}

/// The one that holds `folder`.
pub fn find(tree: &Tree, folder: &str) -> Answer<Mount> {
    let text = tree.text("/proc/self/mountinfo")?;
    let holds = |at: &str| {
        at == "/"
            || folder == at
            || folder
                .strip_prefix(at)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    // Of two at the same place the later one is what is seen.
    text.lines()
        .filter_map(parse)
        .filter(|mount| holds(&mount.at))
        .enumerate()
        .max_by_key(|(place, mount)| (mount.at.len(), *place))
        .map(|(_, mount)| mount)
        .ok_or_else(|| {
            format!(
                "/proc/self/mountinfo does not say where {} is",
                clip(folder)
            )
        })
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn parse(line: &str) -> Option<Mount> {
    let (front, back) = line.split_once(" - ")?;
    let front: Vec<&str> = front.split_whitespace().collect();
    let back: Vec<&str> = back.split_whitespace().collect();
    Some(Mount {
        // The kernel writes a blank as `\040`.
        at: front.get(4)?.replace("\\040", " "),
        kind: (*back.first()?).to_string(),
        source: (*back.get(1)?).to_string(),
        options: format!("{},{}", front.get(5)?, back.get(2).unwrap_or(&"")),
        numbers: (*front.get(2)?).to_string(),
    })
}

/// The name of the disk below a mount, `nvme0n1` or `sda`: through partitions, and through the
/// first of the devices that a mapped one is made of.
pub fn disk_of(tree: &Tree, mount: &Mount) -> Answer<String> {
    let by_number = tree
        .text(&format!("/sys/dev/block/{}/uevent", mount.numbers))
        .ok();
    let by_number = by_number.and_then(|text| {
        text.lines()
            .find_map(|line| line.strip_prefix("DEVNAME=").map(str::to_string))
    });
    let by_source = || {
        let name = mount.source.strip_prefix("/dev/")?;
        (!name.contains('/')).then(|| name.to_string())
    };
    let mut name = by_number
        .or_else(by_source)
        .ok_or_else(|| format!("{} is on no block device", clip(&mount.at)))?;
    if name.contains(['/', '\0']) || name.starts_with('.') {
        return Err(format!("`{}` is no name of a disk", clip(&name)));
    }
    let disks = tree.names("/sys/block")?;
    // A mapped device on a mapped device on a partition is as deep as it gets.
    for _ in 0..4 {
        if !disks.contains(&name) {
            let whole = disks
                .iter()
                .find(|disk| tree.has(&format!("/sys/block/{disk}/{name}")));
            name = whole
                .ok_or_else(|| format!("there is no disk {} in /sys/block", clip(&name)))?
                .clone();
        }
        let below = tree
            .names(&format!("/sys/block/{name}/slaves"))
            .unwrap_or_default();
        match below.into_iter().next() {
            Some(next) => name = next,
            None => return Ok(name),
        }
    }
    Err(format!("{} is mapped too often to follow", clip(&name)))
}
