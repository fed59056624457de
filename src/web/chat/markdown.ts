import DOMPurify from 'dompurify'
import { Marked, type Token, type TokensList } from 'marked'

const ALLOWED_TAGS = (
  'a p br hr em strong del code pre blockquote ul ol li h1 h2 h3 h4 h5 h6 ' + 'table thead tbody tr th td'
).split(' ')
const ALLOWED_ATTRIBUTES = ['href', 'title', 'align', 'start', 'class', 'target', 'rel']
const SAFE_LINK = /^(?:https?:|mailto:)/i

/**
 * Two fences, either of which would do: what the model writes as HTML is shown as text, and what comes out is sanitised.
 * Images become links, as fetching one would tell a stranger's server that, when and from where a chat is read.
 */
const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text }) => (/^<br\s*\/?>$/i.test(text.trim()) ? '<br>' : escapeHtml(text)),
    image: ({ href, text }) => link(href, escapeHtml(text || href)),
    link({ href, tokens }) {
      return link(href, this.parser.parseInline(tokens))
    },
    checkbox: ({ checked }) => (checked ? '☑ ' : '☐ '),
  },
})

const purify = DOMPurify(window)

/** The blocks of a Markdown text: paragraphs, lists, code blocks. */
export function blocksOf(markdown: string): TokensList {
  return marked.lexer(markdown)
}

/** One block as nodes that are safe to put into the page. */
export function renderBlock(block: Token): DocumentFragment {
  return purify.sanitize(marked.parser([block]), {
    ALLOWED_TAGS,
    ALLOWED_ATTR: ALLOWED_ATTRIBUTES,
    ALLOW_DATA_ATTR: false,
    ALLOWED_URI_REGEXP: SAFE_LINK,
    // These hold no address, and the pattern above would be asked of them, too.
    ADD_URI_SAFE_ATTR: ['align', 'start', 'target', 'rel'],
    RETURN_DOM_FRAGMENT: true,
  })
}

function link(href: string, html: string): string {
  if (!SAFE_LINK.test(href)) return html
  return `<a href="${escapeHtml(href)}" target="_blank" rel="noopener noreferrer nofollow">${html}</a>`
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
