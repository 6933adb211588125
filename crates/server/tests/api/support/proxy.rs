//! What stands between clients and nodes, or between nodes and their database.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::kept::{as_ourselves, spawn};
use super::server::free_port;
use super::{Request, until};

/// A real proxy that balances over nodes.
pub(crate) struct Proxy {
    place: TempDir,
    proxy: Child,
    pub(crate) address: SocketAddr,
}

impl Proxy {
    /// nginx over these nodes, in turn.
    #[track_caller]
    pub(crate) fn nginx(nodes: &[SocketAddr]) -> Self {
        let servers: String =
            nodes.iter().map(|node| format!("    server {node} max_fails=1 fail_timeout=1s;\n")).collect();
        // A request that a node may have carried out is repeated at another one only where that is harmless: a refresh, whose
        // repetition gets the same successor, and what is idempotent by its method. A sign-in is not.
        Self::start("nginx", &["-p", ".", "-e", "log", "-c"], |port| {
            format!(
                "daemon off;
master_process off;
pid pid;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  upstream countersign {{
{servers}    keepalive 16;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    client_max_body_size 64k;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_connect_timeout 1s;
    proxy_read_timeout 70s;
    proxy_next_upstream error timeout;
    location / {{ proxy_pass http://countersign; }}
    location = /api/auth/refresh-token {{
      proxy_next_upstream error timeout non_idempotent;
      proxy_pass http://countersign;
    }}
  }}
}}
"
            )
        })
    }

    /// HAProxy over these nodes, in turn.
    #[track_caller]
    pub(crate) fn haproxy(nodes: &[SocketAddr]) -> Self {
        let servers: String = (1..)
            .zip(nodes)
            .map(|(number, node)| format!("  server node{number} {node} check inter 500ms fall 1 rise 1\n"))
            .collect();
        Self::start("haproxy", &["-db", "-f"], |port| {
            format!(
                "defaults
  mode http
  timeout connect 1s
  timeout client 70s
  timeout server 70s
  option forwardfor
  option httpchk GET /readyz
  option redispatch
  # What a node may have carried out is not repeated, but for a refresh: its repetition gets the same successor.
  retries 2
  retry-on conn-failure

frontend clients
  bind 127.0.0.1:{port}
  use_backend refreshes if {{ path /api/auth/refresh-token }}
  default_backend nodes

backend nodes
  balance roundrobin
{servers}
backend refreshes
  balance roundrobin
  retry-on conn-failure empty-response response-timeout
{servers}"
            )
        })
    }

    fn start(program: &str, arguments: &[&str], configuration: impl Fn(u16) -> String) -> Self {
        let place = tempfile::tempdir().unwrap();
        let port = free_port();
        fs::write(place.path().join("configuration"), configuration(port)).unwrap();
        let log = File::create(place.path().join("said")).unwrap();
        let mut command = as_ourselves(program);
        command.args(arguments).arg("configuration").current_dir(place.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut proxy = Self { proxy: spawn(command), place, address };
        until(Duration::from_secs(20), "the proxy listens", || {
            let ended = proxy.proxy.try_wait().unwrap();
            assert!(ended.is_none(), "{program} does not start (scripts/test installs it): {}", proxy.said());
            TcpStream::connect(address).ok()
        });
        proxy
    }

    fn said(&self) -> String {
        let read = |name: &str| fs::read_to_string(Path::join(self.place.path(), name)).unwrap_or_default();
        read("said") + &read("log")
    }

    pub(crate) fn request(&self, method: &'static str, target: &str) -> Request {
        Request::new(self.address, method, target)
    }
}

impl Drop for Proxy {
    #[expect(clippy::print_stderr, reason = "shown with the failure of its test, and only then")]
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.proxy), Signal::TERM);
        let _ = self.proxy.wait();
        if thread::panicking() {
            eprintln!("---- what the proxy said ----\n{}", self.said());
        }
    }
}

/// A wire to a port on this machine that can be led elsewhere, or held so that nothing gets through.
pub(crate) struct Wire {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    target: u16,
    held: bool,
    ended: bool,
    open: Vec<TcpStream>,
}

impl Wire {
    pub(crate) fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        shared.state.lock().unwrap().target = target;
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.state.lock().unwrap().ended {
                    return;
                }
                join(&accepting, stream);
            }
        });
        Self { port, shared }
    }

    /// Leads elsewhere from now on, and cuts what is open.
    pub(crate) fn lead_to(&self, target: u16) {
        let mut state = self.shared.state.lock().unwrap();
        state.target = target;
        state.cut();
    }

    /// Leads elsewhere whoever connects from now on, and leaves what is open as it is.
    pub(crate) fn lead_new_to(&self, target: u16) {
        self.shared.state.lock().unwrap().target = target;
    }

    /// Nothing gets through any more, and nobody is told.
    pub(crate) fn hold(&self) {
        self.shared.state.lock().unwrap().held = true;
    }

    /// Ends a [`hold`](Self::hold): what was held arrives late.
    pub(crate) fn release(&self) {
        self.shared.state.lock().unwrap().held = false;
        self.shared.changed.notify_all();
    }
}

impl State {
    fn cut(&mut self) {
        for stream in self.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock().unwrap();
        state.ended = true;
        state.held = false;
        state.cut();
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

/// Joins a client to the target, in both directions.
fn join(shared: &Arc<Shared>, client: TcpStream) {
    let target = shared.state.lock().unwrap().target;
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else { return };
    for (from, to) in [(&client, &server), (&server, &client)] {
        let (Ok(from), Ok(to), Ok(kept)) = (from.try_clone(), to.try_clone(), from.try_clone()) else { return };
        shared.state.lock().unwrap().open.push(kept);
        let shared = Arc::clone(shared);
        thread::spawn(move || pump(&shared, from, to));
    }
}

fn pump(shared: &Shared, mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        let state = shared.state.lock().unwrap();
        drop(shared.changed.wait_while(state, |state| state.held).unwrap());
        if to.write_all(&buffer[..bytes]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
