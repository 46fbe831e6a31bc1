//! What a damaged file needs before SQLite can read the rest of it: a header, a length, and a schema.
//!
//! Files of one version have all begun with the same statements: the pages that hold their schemas are the
//! same, and those of a new file can take their place.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::Result;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, params};

use super::log;
use super::opened::PAGE_BYTES;
use super::schema::definitions;

/// Bytes of a SQLite file's header.
const HEADER: usize = 100;

/// Lets SQLite read a file that ends before the last page that it should have.
///
/// # Errors
/// Where the file can't be read or written; so for all of these.
pub fn length(file: &Path) -> Result<()> {
    let file = File::options().read(true).write(true).open(file)?;
    let mut header = [0; HEADER];
    let pages = file.metadata()?.len() / u64::from(PAGE_BYTES);
    let there = pages > 0 && file.read_exact_at(&mut header, 0).is_ok();
    let told = u32::from_be_bytes([header[28], header[29], header[30], header[31]]);
    if there && u64::from(told) > pages {
        log::tell_pages(&file, u32::try_from(pages)?)?;
    }
    Ok(())
}

/// Gives a file that does not begin as one of ours the first page of a new one: it holds the header and
/// the root of the schema, and these are the same in all files of a version.
pub fn header(from: &Path, new: &Path) -> Result<()> {
    let damaged = File::options().read(true).write(true).open(from)?;
    let new = File::open(new)?;
    let (mut header, mut right) = ([0; HEADER], [0; HEADER]);
    new.read_exact_at(&mut right, 0)?;
    let read = damaged.read_exact_at(&mut header, 0);
    // Magic, page size, format; application and version.
    if read.is_ok() && header[..24] == right[..24] && header[56..72] == right[56..72] {
        return Ok(());
    }
    let page = usize::from(u16::from_be_bytes([right[16], right[17]]));
    let mut first = vec![0; page];
    new.read_exact_at(&mut first, 0)?;
    let pages = damaged.metadata()?.len() / page as u64;
    first[28..32].copy_from_slice(&u32::try_from(pages)?.to_be_bytes());
    // The number of pages counts where these two are equal.
    let (change, valid_for) = (24..28, 92..96);
    first.copy_within(change, valid_for.start);
    damaged.write_all_at(&first, 0)?;
    Ok(())
}

/// Gives a file in whose schema something of ours is damaged the schema of a new one, unless its tables
/// are elsewhere: who vacuums a file moves them.
pub fn schema(from: &Path, new: &Connection, to: &Path) -> Result<()> {
    if !lacks_definitions(from, new)? {
        return Ok(());
    }
    let damaged = File::options().read(true).write(true).open(from)?;
    let new_file = File::open(to)?;
    let mut select = new.prepare("SELECT pageno FROM dbstat WHERE name = 'sqlite_schema'")?;
    let pages = select.query_map([], |row| row.get::<_, u32>(0))?;
    for page in pages {
        let mut at = u64::from(page? - 1) * u64::from(PAGE_BYTES);
        let mut bytes = [0; PAGE_BYTES as usize];
        new_file.read_exact_at(&mut bytes, at)?;
        let mut bytes = &bytes[..];
        if at == 0 {
            // The header tells of the rest of the file.
            at = HEADER as u64;
            bytes = &bytes[HEADER..];
        }
        damaged.write_all_at(bytes, at)?;
    }
    Ok(())
}

/// Whether a file lacks what a new one defines, though its tables are where those of a new one are.
fn lacks_definitions(file: &Path, new: &Connection) -> Result<bool> {
    let old = Connection::open(file)?;
    old.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let right = definitions(new)?;
    let is_right =
        |found: BTreeMap<_, _>| right.iter().all(|(name, sql)| found.get(name) == Some(sql));
    if definitions(&old).is_ok_and(is_right) {
        return Ok(false);
    }
    // What can't be parsed hides nothing else then.
    let _ = old.pragma_update(None, "writable_schema", true);
    let (right, found) = (roots(new), roots(&old));
    let same =
        |(name, root): &(&Vec<u8>, &i64)| right.get(*name).is_some_and(|right| right == *root);
    let same = found.iter().filter(same).count();
    Ok(same >= found.len() - same)
}

/// The first page of each table, as far as they can be read.
fn roots(connection: &Connection) -> BTreeMap<Vec<u8>, i64> {
    let mut roots = BTreeMap::new();
    let sql = "SELECT CAST(name AS BLOB), rootpage FROM sqlite_schema WHERE type = 'table'";
    let Ok(mut select) = connection.prepare(sql) else {
        return roots;
    };
    let Ok(mut rows) = select.query(params![]) else {
        return roots;
    };
    while let Ok(Some(row)) = rows.next() {
        if let (Ok(name), Ok(root)) = (row.get(0), row.get(1)) {
            roots.insert(name, root);
        }
    }
    roots
}
