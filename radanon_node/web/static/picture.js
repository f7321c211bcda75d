// A frame on a canvas: levels with a window, zoom, boxes drawn over. Two pictures share one view, so they move together.

export class View {
  constructor() {
    this.scale = 0; // 0: fit
    this.x = 0.5; // centre, as shares of the picture
    this.y = 0.5;
    this.low = 0;
    this.high = 255;
    this.first = null; // window as the data set asks for it
  }

  resetWindow() {
    if (this.first) [this.low, this.high] = this.first;
  }
}

export class Picture {
  constructor(canvas, view, label) {
    this.canvas = canvas;
    this.view = view;
    this.label = label;
    this.levels = null;
    this.image = null;
    this.painted = "";
  }

  async load(url) {
    const answer = await fetch(url, { headers: { Accept: "text/plain" } });
    if (!answer.ok) throw new Error((await answer.text()).trim());
    const head = (name) => Number(answer.headers.get(name));
    const data = await answer.arrayBuffer();
    this.columns = head("X-Columns");
    this.rows = head("X-Rows");
    this.samples = head("X-Samples");
    this.reduction = head("X-Scale");
    this.inverted = head("X-Inverted") === 1;
    this.bits = head("X-Bits");
    this.levels = this.bits === 16 ? new Uint16Array(data) : new Uint8Array(data);
    if (!this.view.first) {
      this.view.first = [head("X-Low"), head("X-High")];
      this.view.resetWindow();
    }
    this.image = new OffscreenCanvas(this.columns, this.rows);
    this.painted = "";
  }

  // Levels to gray by a table, once per window.
  paint() {
    const { low, high } = this.view;
    const key = `${low} ${high}`;
    if (!this.levels || this.painted === key) return;
    const context = this.image.getContext("2d");
    const picture = context.createImageData(this.columns, this.rows);
    const out = new Uint32Array(picture.data.buffer);
    const table = new Uint32Array(1 << this.bits);
    for (let level = 0; level < table.length; level++) {
      let gray = Math.round(Math.min(255, Math.max(0, ((level - low) * 255) / Math.max(high - low, 1e-6))));
      if (this.inverted) gray = 255 - gray;
      table[level] = gray;
    }
    const levels = this.levels;
    if (this.samples === 3) {
      for (let i = 0, j = 0; i < out.length; i++, j += 3) {
        out[i] = 0xff000000 | (table[levels[j + 2]] << 16) | (table[levels[j + 1]] << 8) | table[levels[j]];
      }
    } else {
      for (let i = 0; i < out.length; i++) out[i] = 0xff000000 | (table[levels[i]] * 0x010101);
    }
    context.putImageData(picture, 0, 0);
    this.painted = key;
  }

  get size() {
    return [this.columns * this.reduction, this.rows * this.reduction];
  }

  // Pixels of the canvas per pixel of the frame.
  get zoom() {
    const [width, height] = this.size;
    return this.view.scale || Math.min(this.canvas.width / width, this.canvas.height / height);
  }

  origin() {
    const [width, height] = this.size;
    return [this.canvas.width / 2 - this.view.x * width * this.zoom, this.canvas.height / 2 - this.view.y * height * this.zoom];
  }

  // From a pointer's place to pixels of the frame.
  place(event) {
    const bounds = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / bounds.width;
    const [left, top] = this.origin();
    return [((event.clientX - bounds.left) * ratio - left) / this.zoom, ((event.clientY - bounds.top) * ratio - top) / this.zoom];
  }

  draw(boxes) {
    const bounds = this.canvas.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(bounds.width * ratio), height = Math.round(bounds.height * ratio);
    if (this.canvas.width !== width || this.canvas.height !== height) [this.canvas.width, this.canvas.height] = [width, height];
    const context = this.canvas.getContext("2d");
    context.fillStyle = "#101214";
    context.fillRect(0, 0, width, height);
    if (!this.levels) return;
    this.paint();
    const [left, top] = this.origin();
    context.imageSmoothingEnabled = this.zoom < 2;
    context.drawImage(this.image, left, top, this.size[0] * this.zoom, this.size[1] * this.zoom);
    for (const box of boxes) this.drawBox(context, box, left, top, ratio);
  }

  // Solid: blacked out. Dashed: kept. Dotted: taken back. Double: drawn by a person. The number says which row it is.
  drawBox(context, box, left, top, ratio) {
    const [x0, y0, x1, y1] = box.box.map((side, index) => (index % 2 ? top : left) + side * this.zoom);
    if (box.fill) {
      context.fillStyle = "#000d";
      context.fillRect(x0, y0, x1 - x0, y1 - y0);
    }
    context.lineWidth = (box.chosen ? 4 : 2) * ratio;
    context.strokeStyle = { redact: "#ff5d5d", keep: "#5ee08a", gone: "#ffd24d", added: "#ff9df0" }[box.look];
    context.setLineDash({ keep: [8, 5], gone: [2, 4] }[box.look]?.map((part) => part * ratio) ?? []);
    const gap = context.lineWidth / 2;
    context.strokeRect(x0 - gap, y0 - gap, x1 - x0 + 2 * gap, y1 - y0 + 2 * gap);
    if (box.look === "added") context.strokeRect(x0 - 3 * gap - ratio, y0 - 3 * gap - ratio, x1 - x0 + 6 * gap + 2 * ratio, y1 - y0 + 6 * gap + 2 * ratio);
    context.setLineDash([]);
    context.font = `${12 * ratio}px sans-serif`;
    const text = box.name, wide = context.measureText(text).width + 6 * ratio;
    context.fillStyle = context.strokeStyle;
    context.fillRect(x0 - gap * 2, y0 - gap * 2 - 15 * ratio, wide, 15 * ratio);
    context.fillStyle = "#000";
    context.fillText(text, x0 - gap * 2 + 3 * ratio, y0 - gap * 2 - 4 * ratio);
  }
}
