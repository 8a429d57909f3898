//! A server as a process that does not outlive this one, however this one ends.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// A shell starts the server and keeps it until its own input ends, which is when the tests drop
/// its other end, or die. Then it removes the server's folder. `PR_SET_PDEATHSIG` would kill the
/// server already when the thread that started it ends, which is one test of several.
/// The first argument is the folder, the others are the command.
const KEEPER: &str = r#"
    folder=$1; shift
    exec 3<&0
    "$@" </dev/null >"$folder/log" 2>&1 3<&- & server=$!
    { read -r end <&3; kill -KILL "$server"; } 2>/dev/null & reader=$!
    wait "$server" 2>/dev/null; status=$?
    [ "$status" = 137 ] || { echo "$1 ended with $status:"; tail -n 20 "$folder/log"; } >&2
    rm -rf "$folder"
    kill -KILL "$reader" 2>/dev/null
    exit "$status"
"#;

/// See the module. Its drop kills the server and waits until its folder is gone.
#[derive(Debug)]
pub(super) struct Process(Child);

impl Process {
    /// Starts the command, whose environment is kept, in a process group of its own. The folder is
    /// the server's.
    pub fn start(command: &Command, folder: &Path) -> io::Result<Self> {
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "sh"]).arg(folder);
        keeper.arg(command.get_program()).args(command.get_args());
        keeper.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        keeper.spawn().map(Self)
    }

    /// The status of the server if it ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("it is our child")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
