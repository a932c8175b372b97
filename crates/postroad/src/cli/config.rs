//! `postroad config check|example`

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use postroad_config::Config;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Read the configuration as a service would, and say all that is wrong with it
    Check {
        /// The file, instead of the one given with -c
        file: Option<std::path::PathBuf>,
    },
    /// Print a configuration with every option explained
    Example,
    /// Print the configuration with all defaults filled in
    Show,
}

pub fn main(file: &Path, args: Args) -> ExitCode {
    match args.what {
        What::Example => {
            print!("{}", postroad_config::EXAMPLE);
            ExitCode::SUCCESS
        }
        What::Check { file: other } => {
            let file = other.as_deref().unwrap_or(file);
            match Config::load(file) {
                Ok(_) => {
                    println!("{}: fine", file.display());
                    ExitCode::SUCCESS
                }
                Err(error) => fail(&error),
            }
        }
        What::Show => match Config::load(file).map(|config| config.to_toml()) {
            Ok(Ok(text)) => {
                print!("{text}");
                ExitCode::SUCCESS
            }
            Ok(Err(error)) => fail(&error),
            Err(error) => fail(&error),
        },
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}
