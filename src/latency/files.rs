//! Histograms as the files that HdrHistogram's tools read.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{Interval, Latency, Stage, write_log};

impl Latency {
    /// Writes `latency.hlog` (one tagged line for each stage) and `STAGE.hgrm` for each stage
    /// that counted anything.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        let mut out = BufWriter::new(File::create(dir.join("latency.hlog"))?);
        let stages = Stage::ALL
            .into_iter()
            .map(|stage| (stage, self.stage(stage)));
        let counted: Vec<(Stage, _)> = stages.filter(|(_, h)| !h.is_empty()).collect();
        let intervals: Vec<_> = counted
            .iter()
            .map(|(stage, histogram)| Interval {
                tag: stage.name(),
                start: Duration::ZERO,
                length: Duration::ZERO,
                histogram,
            })
            .collect();
        write_log(&mut out, SystemTime::now(), &intervals)?;
        out.flush()?;
        for (stage, histogram) in counted {
            fs::write(dir.join(format!("{}.hgrm", stage.name())), histogram.hgrm())?;
        }
        Ok(())
    }
}
