#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::atomic::AtomicUsize;

use anyhow::bail;

use super::*;
use crate::http::write_request;

/// Counts, and wants what it asked for.
#[derive(Debug)]
struct Counting(u64);

impl Chain for Counting {
    const KINDS: &'static [&'static str] = &["even", "odd"];

    fn ask(&mut self, to: &mut Vec<u8>) {
        write_request(to, "GET", &format!("/{}", self.0), &[], None);
    }

    fn answered(&mut self, answer: &Answer<'_>) -> anyhow::Result<usize> {
        if answer.body != self.0.to_string().as_bytes() {
            bail!("{} was asked for", self.0);
        }
        self.0 += 1;
        Ok(usize::from(self.0.is_multiple_of(2)))
    }
}

/// Answers with the path, after `lies` answers with something else.
fn server(lies: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answers = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answers = Arc::clone(&answers);
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                for line in lines.map_while(Result::ok).filter(|line| line.starts_with("GET ")) {
                    let path = line.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
                    let lie = answers.fetch_add(1, Ordering::Relaxed) + 1 == lies;
                    let body = if lie { "a lie".to_owned() } else { path };
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            });
        }
    });
    address
}

fn drive(address: SocketAddr, connections: u64) -> Drive<Counting> {
    Drive::new("counting", address, (0..connections).map(|n| Counting(n * 1_000_000)).collect())
        .lasting(Duration::from_millis(20), Duration::from_millis(150))
}

#[test]
fn every_connection_goes_on_where_its_last_answer_left_it() {
    let (load, chains) = drive(server(0), 5).run(&Terminal::new()).unwrap();
    let asked: u64 = chains.iter().zip(0u64..).map(|(chain, n)| chain.0 - n * 1_000_000).sum();
    assert!(chains.iter().zip(0u64..).all(|(chain, n)| chain.0 > n * 1_000_000), "every one was answered");
    assert!(load.count() > 0 && load.count() <= asked, "{} of {asked}", load.count());
    assert!(load.quantile(0.5) > 0.0 && load.seconds > 0.1);
}

#[test]
fn one_wrong_answer_fails_the_load() {
    let error = drive(server(20), 3).run(&Terminal::new()).unwrap_err();
    assert!(format!("{error:#}").contains("a wrong answer: 200 a lie"), "{error:#}");
}

#[test]
fn a_pace_is_kept_and_what_finds_no_connection_is_counted() {
    let (load, _) = drive(server(0), 2).paced(200.0).run(&Terminal::new()).unwrap();
    assert!((10..=31).contains(&load.count()), "{}", load.count());
}
