//! `tapeline config check|show`

use tapeline::config::Config;
use tapeline::reference::Reference;

use super::{Failure, Talk};
use crate::cli::ConfigCommand;

pub fn config(args: &ConfigCommand, talk: Talk) -> Result<(), Failure> {
    match args {
        ConfigCommand::Check { file, config } => {
            let file = file.as_ref().or(config.as_ref());
            let file = file.expect("one of them is required");
            let mut config = Config::read(file).map_err(Failure::usage)?;
            config.models.load(Some(file)).map_err(Failure::usage)?;
            if let Some(path) = &config.source.reference {
                Reference::read(path).map_err(Failure::usage)?;
            }
            config.check_logins(true).map_err(Failure::usage)?;
            talk.say(format_args!("{}: can be used", file.display()));
            Ok(())
        }
        ConfigCommand::Show { file, config } => {
            let config = match file.as_ref().or(config.as_ref()) {
                Some(file) => {
                    let config = Config::read(file).map_err(Failure::usage)?;
                    // What is shown is what the file says, and no less usable than `check` finds it.
                    let mut models = config.models.clone();
                    models.load(Some(file)).map_err(Failure::usage)?;
                    config
                }
                None => Config::default(),
            };
            let config = config.shown();
            if talk.json {
                let text = serde_json::to_string(&config).expect("always JSON");
                talk.data(&format!("{text}\n"))
            } else {
                talk.data(&config.show())
            }
        }
    }
}
