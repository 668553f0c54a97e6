//! Logs of a run that are not what was written: which, where, and what can be done about it.

use std::fmt::Display;

use bus::log::{Damage, LogError};
use tapeline::run_dir::{Manifest, Part, Piece, RunDir, State};
use tapeline::shard::ShardError;

use super::Failure;

/// Reads all logs of a run, and refuses it at the first that is damaged.
pub fn check(dir: &RunDir, manifest: &Manifest) -> Result<(), Failure> {
    let Some((piece, error)) = find(dir, &manifest.parts)? else {
        return Ok(());
    };
    let mut advice = advice(dir, &manifest.parts, &piece, &error);
    if manifest.state == State::Complete {
        advice.push_str("; the run's tables and digests were made when it was whole");
    }
    Err(Failure::damage(format!("{error}; {advice}")))
}

/// A shard that cannot go on before the run began.
pub fn failed(error: ShardError, dir: &RunDir, parts: &[Part]) -> Failure {
    match error.is_damage() {
        true => refused(error, dir, parts),
        false => Failure::io(error),
    }
}

/// What was found to be damaged, with what can be done about it.
pub fn refused(error: impl Display, dir: &RunDir, parts: &[Part]) -> Failure {
    let advice = match find(dir, parts) {
        Ok(Some((piece, found))) => advice(dir, parts, &piece, &found),
        // Each log is whole, and does not fit; or nothing more can be read.
        Ok(None) | Err(_) => general(dir),
    };
    Failure::damage(format!("{error}; {advice}"))
}

/// The first log of a run that is damaged; an error is that one cannot be read.
pub fn find(dir: &RunDir, parts: &[Part]) -> Result<Option<(Piece, LogError)>, Failure> {
    for piece in dir.pieces(parts) {
        let gone = dir.check_log(piece.part, piece.shard);
        // A run that was killed early may have none yet.
        let found = gone.and_then(|()| match piece.dir.is_dir() {
            true => bus::log::verify(&piece.dir).map(drop),
            false => Ok(()),
        });
        match found {
            Ok(()) => {}
            Err(error) if error.is_damage() => return Ok(Some((piece, error))),
            Err(error) => return Err(Failure::io(error)),
        }
    }
    Ok(None)
}

/// What to ask for, with all that it has to be told.
fn advice(dir: &RunDir, parts: &[Part], piece: &Piece, error: &LogError) -> String {
    let LogError::Corrupt(corruption) = error else {
        return general(dir);
    };
    if corruption.damage == Damage::Gone {
        return "nothing is made in its place".into();
    }
    let part = match parts.len() {
        1 => String::new(),
        _ => format!(" --part {}", piece.part),
    };
    format!(
        "nothing of it is skipped: `tapeline log repair {} --shard {}{part} --truncate-at {}` says what \
         cutting it off there would lose",
        dir.path().display(),
        piece.shard,
        corruption.cell
    )
}

fn general(dir: &RunDir) -> String {
    format!(
        "nothing of it is skipped: `tapeline log verify {}` looks through all of it",
        dir.path().display()
    )
}
