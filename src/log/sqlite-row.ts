/** A row as node:sqlite answers it. */
export type SqliteRow = Readonly<Record<string, unknown>>

/** A column that holds a number. Throws where it does not: the file is damaged, or not of our making. */
export function numberOf(row: SqliteRow, column: string): number {
  const value = row[column]
  if (typeof value !== 'number') throw new Error(`the column ${column} does not hold a number`)
  return value
}

/** A column that holds a number or NULL; NULL is undefined here. */
export function optionalNumberOf(row: SqliteRow, column: string): number | undefined {
  return row[column] === null ? undefined : numberOf(row, column)
}

/** A column that holds text. */
export function textOf(row: SqliteRow, column: string): string {
  const value = row[column]
  if (typeof value !== 'string') throw new Error(`the column ${column} does not hold text`)
  return value
}
