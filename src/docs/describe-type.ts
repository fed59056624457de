import { z } from 'zod'

/** As much of JSON Schema as the frames use. */
const schema = z.object({
  type: z.union([z.string(), z.array(z.string())]).optional(),
  const: z.union([z.string(), z.number()]).optional(),
  enum: z.array(z.string()).optional(),
  minLength: z.number().optional(),
  maxLength: z.number().optional(),
  required: z.array(z.string()).optional(),
  get properties() {
    return z.record(z.string(), schema).optional()
  },
  get items() {
    return schema.optional()
  },
  get anyOf() {
    return z.array(schema).optional()
  },
})

/** See {@link jsonSchema}. */
export type JsonSchema = z.infer<typeof schema>

/** The JSON Schema of a frame. */
export function jsonSchema(frame: z.ZodType): JsonSchema {
  return schema.parse(z.toJSONSchema(frame))
}

/** A field's type in a few words, such as `string (1 to 64 characters)`. */
export function describeType(field: JsonSchema): string {
  if (field.const !== undefined) return `\`${JSON.stringify(field.const)}\``
  if (field.enum !== undefined) return field.enum.map((value) => `\`"${value}"\``).join(' or ')
  if (field.anyOf !== undefined) return field.anyOf.map(describeType).join(' or ')
  if (field.type === 'array') return `[${field.items === undefined ? '' : describeType(field.items)}]`
  if (field.type === 'object') return describeObject(field)
  const type = typeof field.type === 'object' ? field.type.join(' or ') : (field.type ?? 'anything')
  return type + describeLength(field)
}

function describeObject({ properties, required = [] }: JsonSchema): string {
  if (properties === undefined) return 'object'
  const names = Object.keys(properties).map((name) => `\`${name}${required.includes(name) ? '' : '?'}\``)
  return `{${names.join(', ')}}`
}

function describeLength({ minLength, maxLength }: JsonSchema): string {
  if (maxLength !== undefined) return ` (${minLength ?? 0} to ${maxLength} characters)`
  return minLength === undefined ? '' : ' (not empty)'
}
