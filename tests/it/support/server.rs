//! The real program, started in a folder of its own, and an HTTP client that can be as rude as a test needs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub struct Server {
    child: Child,
    /// Kept open: a server whose standard output is closed is another test.
    _stdout: BufReader<ChildStdout>,
    pub address: SocketAddr,
    pub dir: tempfile::TempDir,
}

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Rates that a test does not meet by accident.
pub const UNHURRIED: &str = "[limits]\nreads_per_second = 100000\nwrites_per_second = 100000\n";

/// For an answer; a stream of events would never end.
const PATIENCE: Duration = Duration::from_secs(20);

impl Server {
    pub fn start() -> Server {
        Server::with(UNHURRIED)
    }

    pub fn with(config: &str) -> Server {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        std::fs::write(dir.path().join("data/hearth.toml"), config).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let mut child = command(dir.path()).args(["serve", "--listen", "127.0.0.1:0"]).stderr(log).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let Some(address) = line.strip_prefix("listening on http://") else {
            panic!("no server: {line:?} {}", std::fs::read_to_string(dir.path().join("log")).unwrap());
        };
        let address = address.trim().parse().unwrap();
        Server { child, _stdout: stdout, address, dir }
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Runs another `hearth` on the same folder.
    pub fn hearth(&self, args: &[&str]) -> Output {
        hearth(self.dir.path(), args)
    }

    pub fn token(&self, name: &str, level: u8) -> String {
        let output = self.hearth(&["token", "create", "--name", name, "--level", &level.to_string()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends bytes as they are and reads what comes until the server closes.
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        // The server may answer and close before it has read all of it.
        let _ = stream.write_all(bytes);
        let (mut answer, mut buffer, until) = (Vec::new(), [0; 16 * 1024], Instant::now() + PATIENCE);
        while Instant::now() < until {
            match stream.read(&mut buffer) {
                Ok(n) if 0 < n => answer.extend_from_slice(&buffer[..n]),
                _ => break,
            }
        }
        Answer::parse(&answer)
    }

    /// A whole request; headers that are given replace those of the same name.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        let is_given = |name: &str| headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        if !is_given("host") {
            request += &format!("Host: {}\r\n", self.address);
        }
        if !body.is_empty() && !is_given("content-type") {
            request += "Content-Type: application/json\r\n";
        }
        if !is_given("content-length") && !is_given("transfer-encoding") && method != "GET" {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += "\r\n";
        self.raw(&[request.as_bytes(), body].concat())
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub fn get_as(&self, token: &str, path: &str) -> Answer {
        self.send("GET", path, &[("Authorization", &format!("Bearer {token}"))], b"")
    }

    pub fn post_as(&self, token: &str, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[("Authorization", &format!("Bearer {token}"))], body.as_bytes())
    }

    /// Asks it to stop, and waits.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal();
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the server does not stop");
    }

    pub fn signal(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    fn parse(bytes: &[u8]) -> Answer {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Answer { status: 0, headers: Vec::new(), body: bytes.to_vec() };
        };
        let head = String::from_utf8_lossy(&bytes[..end]);
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Answer { status, headers, body: bytes[end + 4..].to_vec() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// A problem document of that status, with everything that one has.
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["detail"], problem["message"]);
        for member in ["type", "title", "code"] {
            assert!(problem[member].is_string(), "{member}: {problem}");
        }
        problem
    }
}

/// Runs `hearth` to its end, with its files in `dir`.
pub fn hearth(dir: &Path, args: &[&str]) -> Output {
    command(dir).args(args).output().unwrap()
}

pub fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearth"));
    command
        .env_clear()
        .env("HEARTH_DATA", dir.join("data"))
        .env("HEARTH_ROOT_KEY", dir.join("root.key"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}
