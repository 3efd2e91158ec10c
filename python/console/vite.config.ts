import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import react from '@vitejs/plugin-react';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

/** The theme must be set before the first paint, and no inline script may run: a small file of its own that blocks. */
function themeScript(): Plugin {
  const source = readFileSync(new URL('src/theme.js', import.meta.url), 'utf8');
  const name = `assets/theme-${createHash('sha256').update(source).digest('base64url').slice(0, 8)}.js`;
  let serving = false;
  return {
    name: 'theme-script',
    configResolved: (config) => {
      serving = config.command === 'serve';
    },
    generateBundle() {
      this.emitFile({ type: 'asset', fileName: name, source });
    },
    transformIndexHtml: () => [
      { tag: 'script', attrs: { src: serving ? '/src/theme.js' : `/${name}` }, injectTo: 'head-prepend' },
    ],
  };
}

/** Every file is also there as .br and .gz, so that nothing is compressed while serving. */
function packed(): Plugin {
  return {
    name: 'packed',
    apply: 'build',
    enforce: 'post',
    generateBundle: {
      order: 'post',
      handler(_options, bundle) {
        for (const file of Object.values(bundle)) {
          const source = file.type === 'chunk' ? file.code : file.source;
          const bytes = typeof source === 'string' ? Buffer.from(source) : Buffer.from(source);
          const quality = { params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY } };
          this.emitFile({ type: 'asset', fileName: `${file.fileName}.br`, source: brotliCompressSync(bytes, quality) });
          this.emitFile({ type: 'asset', fileName: `${file.fileName}.gz`, source: gzipSync(bytes, { level: 9 }) });
        }
      },
    },
  };
}

const gateway = process.env.FAIRLEAD_ADMIN ?? 'http://127.0.0.1:8081';

export default defineConfig({
  plugins: [react(), themeScript(), packed()],
  publicDir: false,
  build: {
    outDir: '../fairlead/console/dist',
    emptyOutDir: true,
    target: 'es2023',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
  server: {
    proxy: {
      '/admin': {
        target: gateway,
        changeOrigin: true,
        // The admin port takes changes from pages of its own origin alone.
        configure: (proxy) => proxy.on('proxyReq', (request) => request.setHeader('origin', gateway)),
      },
    },
  },
  test: { environment: 'happy-dom', include: ['src/**/*.test.{ts,tsx}'] },
});
