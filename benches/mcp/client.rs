//! An HTTP/1.1 client of a few lines: no library stands between the clock and the server.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

const READ_BUFFER: usize = 64 * 1024;

pub struct Http {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    address: SocketAddr,
    /// Header lines that every request carries
    pub headers: String,
}

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The JSON-RPC message, which may come as the only event of a stream.
    pub fn message(&self) -> anyhow::Result<serde_json::Value> {
        let text = std::str::from_utf8(&self.body)?;
        let data =
            text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim).find(|data| !data.is_empty());
        serde_json::from_str(data.unwrap_or(text)).with_context(|| format!("status {}, body {text}", self.status))
    }
}

impl Http {
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Http> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        Ok(Http { read: BufReader::with_capacity(READ_BUFFER, read), write, address, headers: String::new() })
    }

    pub async fn post(&mut self, path: &str, body: &str) -> anyhow::Result<Answer> {
        self.send("POST", path, body).await?;
        let (status, headers) = self.head().await?;
        let mut body = Vec::new();
        if let Some(length) = header(&headers, "content-length") {
            body.resize(length.parse()?, 0);
            self.read.read_exact(&mut body).await?;
        } else if header(&headers, "transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk().await? {
                body.extend_from_slice(&chunk);
            }
        }
        let closes = header(&headers, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if closes {
            let headers = std::mem::take(&mut self.headers);
            *self = Http::connect(self.address).await?;
            self.headers = headers;
        }
        Ok(Answer { status, headers, body })
    }

    pub async fn send(&mut self, method: &str, path: &str, body: &str) -> anyhow::Result<()> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\n{}Content-Length: {}\r\n\r\n{body}",
            self.address,
            self.headers,
            body.len()
        );
        Ok(self.write.write_all(request.as_bytes()).await?)
    }

    /// The status and the headers, their names in lower case.
    pub async fn head(&mut self) -> anyhow::Result<(u16, Vec<(String, String)>)> {
        let mut line = String::new();
        self.read.read_line(&mut line).await?;
        let status = line.split(' ').nth(1).context("no status")?.parse()?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            self.read.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                return Ok((status, headers));
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The next chunk of a body, until its end.
    pub async fn chunk(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        const LINE_END: usize = 2;
        let mut line = String::new();
        if self.read.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let length = usize::from_str_radix(line.trim().split(';').next().unwrap_or_default(), 16)?;
        let mut chunk = vec![0; length + LINE_END];
        self.read.read_exact(&mut chunk).await?;
        chunk.truncate(length);
        Ok((length != 0).then_some(chunk))
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}
