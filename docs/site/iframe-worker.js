// A page that is opened as a file may start no worker, and Material's search is one: there it runs in a hidden frame.
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      frame.answer = data => this.dispatchEvent(new MessageEvent("message", { data }))
      frame.srcdoc =
        `<script>postMessage = data => frameElement.answer(data)</` + `script><script src="${url}"></` + `script>`
      this.loaded = new Promise(done => frame.addEventListener("load", () => done(frame.contentWindow)))
      document.body.append(frame)
    }
    async postMessage(data) {
      const worker = await this.loaded
      worker.dispatchEvent(new MessageEvent("message", { data }))
    }
  }
