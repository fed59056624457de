// Plain JavaScript, so that an old Node.js can run it and say what is wrong in one line.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major !== 22 || minor < 18) {
  const script = process.env.npm_lifecycle_event === 'pretest' ? 'test' : 'start'
  // With `npm ci`: under another Node.js it has installed another build of uWebSockets.js.
  console.error(
    `statewire needs Node.js 22 (22.18 or later), and this is ${process.versions.node}. Try: npx -y -p node@22 -c "npm ci && npm ${script}"`,
  )
  process.exit(1)
}
