//! What is known of the segments in a store: how long each is, and its first and last bytes.
//!
//! Whoever opens a log looks at the first page of every segment, for which the table at the end
//! must be read too. From a store that would be some requests for each segment, every time and one
//! after the other; here it is two, once, and many at a time.

use std::collections::BTreeMap;
use std::time::SystemTime;

use object_store::ObjectMeta;

/// Enough for the first page, compressed, and for the table of a segment of 1 GiB.
pub(crate) const EDGE_BYTES: u64 = 8 << 10;

/// One object, as the store describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) bytes: u64,
    pub(crate) written: SystemTime,
    e_tag: Option<String>,
}

impl Described {
    pub(crate) fn new(meta: ObjectMeta) -> Described {
        Described {
            bytes: meta.size,
            written: meta.last_modified.into(),
            e_tag: meta.e_tag,
        }
    }

    /// Where its first bytes end and where its last ones begin.
    pub(crate) fn edges(&self) -> (u64, u64) {
        let head_end = self.bytes.min(EDGE_BYTES);
        (head_end, self.bytes.saturating_sub(EDGE_BYTES))
    }
}

/// The first bytes and the last ones.
#[derive(Clone, Debug)]
pub(crate) struct Edges {
    pub(crate) head: Vec<u8>,
    pub(crate) tail: Vec<u8>,
}

/// All that is known, by segment.
#[derive(Debug, Default)]
pub(crate) struct Known(BTreeMap<u64, (Described, Option<Edges>)>);

impl Known {
    /// Takes over what the store lists now. What is no longer as it was is forgotten.
    pub(crate) fn replace(&mut self, listed: BTreeMap<u64, Described>) {
        let mut before = std::mem::take(&mut self.0);
        for (segment, described) in listed {
            let edges = match before.remove(&segment) {
                Some((same, edges)) if same == described => edges,
                _ => None,
            };
            self.0.insert(segment, (described, edges));
        }
    }

    pub(crate) fn forget(&mut self, segment: u64) {
        self.0.remove(&segment);
    }

    pub(crate) fn describe(&mut self, segment: u64, described: Described) {
        self.0.insert(segment, (described, None));
    }

    pub(crate) fn described(&self, segment: u64) -> Option<&Described> {
        self.0.get(&segment).map(|(described, _)| described)
    }

    /// The segment and those after it, `count` at most, whose edges are not known yet.
    pub(crate) fn without_edges(&self, segment: u64, count: usize) -> Vec<(u64, Described)> {
        let from = self.0.range(segment..);
        from.filter(|(_, (_, edges))| edges.is_none())
            .map(|(&number, (described, _))| (number, described.clone()))
            .take(count)
            .collect()
    }

    /// Keeps the edges of an object that is still described so.
    pub(crate) fn keep(&mut self, segment: u64, of: &Described, edges: Edges) {
        if let Some((described, kept)) = self.0.get_mut(&segment)
            && described == of
        {
            *kept = Some(edges);
        }
    }

    /// Fills `into` if what is wanted lies within the edges, and they are known.
    pub(crate) fn fill(&self, segment: u64, offset: u64, into: &mut [u8]) -> bool {
        let Some((described, Some(edges))) = self.0.get(&segment) else {
            return false;
        };
        let (_, tail_start) = described.edges();
        let from = |bytes: &[u8], start: u64| {
            let at = usize::try_from(offset.checked_sub(start)?).ok()?;
            bytes.get(at..)?.get(..into.len()).map(<[u8]>::to_vec)
        };
        let found = from(&edges.head, 0).or_else(|| from(&edges.tail, tail_start));
        if let Some(found) = &found {
            into.copy_from_slice(found);
        }
        found.is_some()
    }
}
