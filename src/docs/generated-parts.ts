/**
 * A generated part of a document stands between `<!-- generated: <name> -->` and `<!-- end of generated -->`.
 * Answers the document with its parts as given; throws where a marker is missing.
 */
export function withParts(document: string, parts: Readonly<Record<string, string>>): string {
  let result = document
  for (const [name, part] of Object.entries(parts)) {
    const start = `<!-- generated: ${name} -->`
    const from = result.indexOf(start)
    const to = result.indexOf(END, from)
    if (from < 0 || to < 0) throw new Error(`the markers of the generated part '${name}' are missing`)
    result = `${result.slice(0, from + start.length)}\n\n${part}\n\n${result.slice(to)}`
  }
  return result
}

const END = '<!-- end of generated -->'
