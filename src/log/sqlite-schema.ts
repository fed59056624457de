/** The database's file under `DATA_DIR`. */
export const DATABASE_FILE = 'statewire.db'
/** Marks the file as ours: "StWr" in ASCII. */
export const APPLICATION_ID = 0x53745772
/** Raised with every change of the tables. A file of a higher version is refused. */
export const SCHEMA_VERSION = 1

/**
 * - `entries` is only ever appended to, so that a commit of many channels writes few pages. The head of a channel, the
 *   time of its last append and what its producers wrote last are read from its last rows, not kept beside them: that
 *   would rewrite a page per channel and commit. `producer` is the offset of the first entry of a producer that counts
 *   its entries; those of a producer with ids have NULL and a row of `written` each.
 * - `channels.time` is no later than the channel's last append; `open` is the number of its turns without an end.
 * - `written` answers repeats: an id (as a JSON string) with its offset, or `#` with the first offset of a producer that counts.
 * - `ended` are the terminal entries of turns that are not folded yet.
 * - `forgotten` are expired channels whose rows are still to be deleted; an id is never used again.
 * - `probe` is written to find out whether writing works.
 */
export const SCHEMA = `
  CREATE TABLE channels (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, epoch TEXT NOT NULL, fence INTEGER,
    open INTEGER NOT NULL, time INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX channels_open ON channels (key) WHERE open > 0;
  CREATE TABLE entries (
    id INTEGER PRIMARY KEY, channel INTEGER NOT NULL, offset INTEGER NOT NULL, producer INTEGER, sequence REAL,
    time INTEGER NOT NULL, folded_from INTEGER, text TEXT NOT NULL
  ) STRICT;
  CREATE INDEX entries_place ON entries (channel, offset);
  CREATE TABLE written (
    channel INTEGER NOT NULL, producer TEXT NOT NULL, sequence TEXT NOT NULL, offset INTEGER NOT NULL,
    PRIMARY KEY (channel, producer, sequence)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE ended (
    time INTEGER NOT NULL, channel INTEGER NOT NULL, offset INTEGER NOT NULL, PRIMARY KEY (time, channel, offset)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE forgotten (channel INTEGER PRIMARY KEY) STRICT;
  CREATE TABLE probe (id INTEGER PRIMARY KEY, time INTEGER NOT NULL) STRICT;
`
