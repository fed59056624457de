# The image of the server: one node, or (with WORKERS) several on one machine.
#
#   docker build -t statewire .
#   docker run -p 127.0.0.1:8000:8000 -v statewire:/data statewire
#
# NODE_IMAGE brings Node.js 22 and npm and builds; RUNTIME_IMAGE is what the result stands on, of the same distribution: of
# Node.js it gets the binary alone. uWebSockets.js needs glibc (2.36 will do), so neither can be Alpine.
ARG NODE_IMAGE=node:22-bookworm-slim
ARG RUNTIME_IMAGE=debian:bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
# The packages first: they change less often than the sources.
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY . .
RUN npm run build && npm prune --omit=dev --ignore-scripts \
  # Types, sources and source maps of packages: a tenth of the image, and nothing reads them.
  && find node_modules -type f \( -name '*.ts' -o -name '*.mts' -o -name '*.cts' -o -name '*.map' \) -delete

FROM ${RUNTIME_IMAGE}
RUN groupadd --gid 10001 statewire \
  && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin statewire \
  && install --directory --owner=10001 --group=10001 /data
COPY --from=build /usr/local/bin/node /usr/local/bin/node
WORKDIR /app
# Owned by root: the server can write nothing but /data.
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
# Within a container, its own loopback is of no use to anybody: who can reach it is decided by the ports that are published.
# The admin port stays on the loopback, where the health check asks; set ADMIN_HOST for probes and scrapes from outside.
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8000 ADMIN_PORT=8001 DATA_DIR=/data
# By number, so that Kubernetes can tell that it is not root.
USER 10001:10001
VOLUME /data
EXPOSE 8000
# SIGTERM drains (DRAIN_MS). No shell and no npm stands between, so it arrives.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.ADMIN_PORT}/healthz`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "--disable-warning=ExperimentalWarning", "dist/src/main.js"]
