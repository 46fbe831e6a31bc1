//! The shop as a client sees it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

const SHOP: &str = env!("CARGO_BIN_EXE_shop");

/// Starts a shop; returns it with the address it listens on.
fn start(data: &Path) -> (Child, String) {
    let mut shop = Command::new(SHOP)
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(shop.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line
        .trim_end()
        .strip_prefix("listening on ")
        .unwrap()
        .to_owned();
    (shop, address)
}

/// Sends a signal and waits for the end.
fn stop(mut shop: Child, signal: i32) -> ExitStatus {
    // SAFETY: a signal to a child that was not waited for, so the pid is still its own.
    assert_eq!(unsafe { libc::kill(shop.id() as libc::pid_t, signal) }, 0);
    shop.wait().unwrap()
}

/// Status and body of a GET on a connection that stays open.
fn get(connection: &mut BufReader<TcpStream>, uri: &str) -> (u16, String) {
    // In one piece: small ones would wait for each other's acknowledgement.
    let request = format!("GET {uri} HTTP/1.1\r\nhost: shop\r\n\r\n");
    connection.get_mut().write_all(request.as_bytes()).unwrap();
    let mut status = String::new();
    connection.read_line(&mut status).unwrap();
    let mut length = 0;
    loop {
        let mut header = String::new();
        connection.read_line(&mut header).unwrap();
        if header == "\r\n" {
            break;
        }
        if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).unwrap();
    let code = status.split(' ').nth(1).unwrap().parse().unwrap();
    (code, String::from_utf8(body).unwrap())
}

#[test]
fn the_printed_requests_fail_in_the_promised_share() {
    let output = Command::new(SHOP)
        .args(["--print-uris", "120"])
        .output()
        .unwrap();
    let uris = String::from_utf8(output.stdout).unwrap();
    assert_eq!(uris.lines().count(), 120);

    let data = tempfile::tempdir().unwrap();
    let (shop, address) = start(data.path());
    let mut connection = BufReader::new(TcpStream::connect(address).unwrap());
    let statuses: Vec<u16> = uris
        .lines()
        .map(|uri| get(&mut connection, uri).0)
        .collect();
    let count = |wanted| statuses.iter().filter(|&&status| status == wanted).count();
    assert_eq!([count(200), count(404), count(422)], [114, 4, 2]);
    assert!(
        stop(shop, libc::SIGTERM).success(),
        "an open connection must not hold the end up"
    );
}

#[test]
fn answers_with_items_receipts_and_reasons() {
    let data = tempfile::tempdir().unwrap();
    let (shop, address) = start(data.path());
    let mut connection = BufReader::new(TcpStream::connect(address).unwrap());
    assert_eq!(
        get(&mut connection, "/item/5"),
        (200, r#"{"id":5,"name":"item number 5","cents":135}"#.into()),
    );
    let (status, receipt) = get(&mut connection, "/order?item=5&count=2");
    assert_eq!(status, 200);
    assert!(
        receipt.starts_with(r#"{"item":5,"count":2,"cents":270,"seal":""#),
        "{receipt}"
    );
    assert_eq!(
        get(&mut connection, "/item/0"),
        (404, "item 0 does not exist".into())
    );
    assert_eq!(
        get(&mut connection, "/order?item=5&count=101"),
        (422, "an order has 1 to 100 pieces, not 101".into()),
    );
    assert!(stop(shop, libc::SIGINT).success());
}
