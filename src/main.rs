//! The `wharf` binary.

use std::process::ExitCode;

use wharfinger::cli::compose_config::{parse_arguments, run};

/// Exit status of a mistake on the command line.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let verb = (arguments.next(), arguments.next());
    let (Some("compose"), Some("config")) = (verb.0.as_deref(), verb.1.as_deref()) else {
        return ExitCode::from(USAGE);
    };
    let directory = std::env::current_dir().unwrap_or_default().to_string_lossy().into_owned();
    match parse_arguments(arguments, directory) {
        Ok((options, format)) => {
            let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
            run(&options, format, &mut out, &mut err).unwrap_or(ExitCode::FAILURE)
        }
        Err(_) => ExitCode::from(USAGE),
    }
}
