//! `fairlead-rig`: the load generator, the floor and the simulator's process, for `make bench`.

mod arguments;

use std::process::ExitCode;

fn main() -> ExitCode {
    match arguments::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(arguments::Failure::Misuse(text)) => {
            eprintln!("fairlead-rig: {text}\nTry: fairlead-rig --help");
            ExitCode::from(2)
        }
        Err(arguments::Failure::Failed(text)) => {
            eprintln!("fairlead-rig: {text}");
            ExitCode::FAILURE
        }
    }
}
