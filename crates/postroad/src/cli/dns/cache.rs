//! `postroad dns cache`

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Subcommand;
use postroad_rpc::Channel;
use postroad_rpc::v1;
use postroad_rpc::v1::cache_client::CacheClient;

use crate::cli::client::said;
use crate::cli::table::table;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What is remembered of a name and all below it
    Show {
        /// Without it, of all names
        name: Option<String>,
    },
    /// Forget a name and all below it; "." forgets everything
    Flush { name: String },
    /// Write all that is remembered, as lines of a zone file
    Dump {
        /// Of this name and all below it
        name: Option<String>,
        /// Into a file
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

pub async fn main(cache: &mut CacheClient<Channel>, args: Args) -> Result<(), String> {
    match args.what {
        What::Show { name } => {
            let mut rows = Vec::new();
            each(cache, name, |entry| {
                let ttl = entry.ttl_left_s.to_string();
                let records = entry.records.join(" | ");
                rows.push(vec![entry.name, entry.r#type, ttl, entry.kind, entry.security, records]);
                Ok(())
            })
            .await?;
            print!("{}", table(&["NAME", "TYPE", "TTL", "KIND", "SECURITY", "RECORDS"], &rows));
        }
        What::Flush { name } => {
            let reply = cache.flush_cache(v1::FlushCacheRequest { name }).await.map_err(said)?.into_inner();
            println!("{} forgotten", reply.entries);
        }
        What::Dump { name, output: Some(file) } => {
            let failed = |error: io::Error| format!("{}: {error}", file.display());
            let mut to = BufWriter::new(File::create(&file).map_err(failed)?);
            let entries = dump(cache, name, &mut to, failed).await?;
            println!("{entries} entries written to {}", file.display());
        }
        What::Dump { name, output: None } => {
            let failed = |error: io::Error| format!("standard output: {error}");
            dump(cache, name, &mut io::stdout().lock(), failed).await?;
        }
    }
    Ok(())
}

/// Hands on all entries as they come.
async fn each(
    cache: &mut CacheClient<Channel>,
    name: Option<String>,
    mut take: impl FnMut(v1::CacheEntry) -> Result<(), String>,
) -> Result<(), String> {
    let request = v1::ShowCacheRequest { name: name.unwrap_or_default() };
    let mut replies = cache.show_cache(request).await.map_err(said)?.into_inner();
    while let Some(reply) = replies.message().await.map_err(said)? {
        reply.entries.into_iter().try_for_each(&mut take)?;
    }
    Ok(())
}

async fn dump(
    cache: &mut CacheClient<Channel>,
    name: Option<String>,
    to: &mut impl Write,
    failed: impl Fn(io::Error) -> String,
) -> Result<u64, String> {
    let mut entries = 0;
    each(cache, name, |entry| {
        entries += 1;
        to.write_all(lines(&entry).as_bytes()).map_err(&failed)
    })
    .await?;
    to.flush().map_err(&failed)?;
    Ok(entries)
}

/// Records as lines of a zone file; what is no record as a comment, so that the whole can be read as one.
fn lines(entry: &v1::CacheEntry) -> String {
    let v1::CacheEntry { name, r#type, records, kind, ttl_left_s, security: _ } = entry;
    let owner = if name == "." { "." } else { &format!("{name}.") };
    let shown: Vec<String> = match kind.as_str() {
        "positive" => records.iter().map(|data| format!("{owner} {ttl_left_s} IN {type} {data}\n")).collect(),
        "delegation" | "trust" => {
            records.iter().map(|line| format!("; {owner} {ttl_left_s} {kind}: {line}\n")).collect()
        }
        _ => {
            let why = records.first().map(|why| format!(": {why}")).unwrap_or_default();
            let words = [owner, &ttl_left_s.to_string(), r#type, kind].map(str::to_owned);
            let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
            vec![format!("; {}{why}\n", words.join(" "))]
        }
    };
    shown.concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_reads_as_a_zone_file() {
        let entry = |kind: &str, rtype: &str, records: &[&str]| v1::CacheEntry {
            name: "a.test".into(),
            r#type: rtype.into(),
            records: records.iter().map(|record| (*record).to_owned()).collect(),
            kind: kind.into(),
            ttl_left_s: 7,
            security: String::new(),
        };
        let found = lines(&entry("positive", "A", &["192.0.2.1", "192.0.2.2"]));
        assert_eq!(found, "a.test. 7 IN A 192.0.2.1\na.test. 7 IN A 192.0.2.2\n");
        assert_eq!(lines(&entry("nxdomain", "", &[])), "; a.test. 7 nxdomain\n");
        assert_eq!(lines(&entry("nodata", "MX", &[])), "; a.test. 7 MX nodata\n");
        assert_eq!(lines(&entry("failure", "A", &["timeout"])), "; a.test. 7 A failure: timeout\n");
        assert_eq!(lines(&entry("delegation", "NS", &["NS ns."])), "; a.test. 7 delegation: NS ns.\n");
        let root = v1::CacheEntry { name: ".".into(), ..entry("nodata", "A", &[]) };
        assert_eq!(lines(&root), "; . 7 A nodata\n");
    }
}
