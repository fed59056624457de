import { defineConfig } from 'vite'

export default defineConfig({
  root: 'src/web',
  // Relative paths, so that the pages also work below a prefix of a proxy.
  base: './',
  build: {
    outDir: '../../dist/web',
    emptyOutDir: true,
    target: 'es2022',
    // An inlined asset or a polyfill script would need a wider content security policy than 'self'.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
})
