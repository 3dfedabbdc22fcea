// The content of a cell: masks as class indices, photographs, and both drawn on a canvas.
const drawing = (() => {
  const VOID = 255;
  const BACKGROUND = DATA.background; // null: no class is

  const unpacked = new Map();
  /** The class indices of a packed mask; the last 400 are cached. */
  function indices(packed, pixels) {
    if (packed === null || packed === undefined) return Promise.resolve(null);
    let found = unpacked.get(packed);
    if (found === undefined) {
      const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
      found = new Response(stream).arrayBuffer().then((buffer) => {
        if (buffer.byteLength !== pixels) throw new Error("a mask differs in size from its image");
        return new Uint8Array(buffer);
      });
    }
    unpacked.delete(packed);
    unpacked.set(packed, found);
    if (unpacked.size > 400) unpacked.delete(unpacked.keys().next().value);
    return found;
  }
  const photographs = new Map();
  function photographOf(image) {
    if (image.photograph === null) return Promise.resolve(null);
    if (!photographs.has(image)) {
      const loaded = new Image();
      loaded.src = image.photograph;
      photographs.set(image, loaded.decode().then(() => loaded, () => null));
    }
    return photographs.get(image);
  }

  const packedColour = ([red, green, blue]) => (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0; // little-endian RGBA
  const rgb = (hex) => [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));
  const CLASS_COLOURS = Uint32Array.from(DATA.palette, (hex) => packedColour(rgb(hex)));
  const ERRORS = Object.fromEntries(Object.entries(DATA.errorColours).map(([kind, colour]) => [kind, packedColour(colour)]));

  function classPixels(mask, shown, out) {
    const table = CLASS_COLOURS.map((colour, index) => (shown.has(index) ? colour : 0));
    for (let place = 0; place < mask.length; place++) out[place] = table[mask[place]];
  }
  /** The border pixels of every region, except the background and void. */
  function outlinePixels(mask, shown, width, out) {
    classPixels(mask, shown, out);
    for (let place = 0; place < mask.length; place++) {
      const own = mask[place];
      const column = place % width;
      const inside = (column === 0 || mask[place - 1] === own) && (column === width - 1 || mask[place + 1] === own)
        && (place < width || mask[place - width] === own) && (place + width >= mask.length || mask[place + width] === own);
      if (inside || own === BACKGROUND || own === VOID) out[place] = 0;
    }
  }
  function errorPixels(truth, mask, shown, out) {
    const counts = Array.from({ length: 256 }, (_, index) => index !== BACKGROUND && shown.has(index));
    for (let place = 0; place < mask.length; place++) {
      const [real, predicted] = [truth[place], mask[place]];
      const wrong = real !== predicted && real !== VOID && (counts[real] || counts[predicted]);
      if (!wrong) out[place] = 0;
      else if (real === BACKGROUND) out[place] = ERRORS.false;
      else out[place] = predicted === BACKGROUND ? ERRORS.missed : ERRORS.confused;
    }
  }
  const scratch = document.createElement("canvas");
  /** Draw what `fill` writes into an array of pixels. */
  function stamp(context, opacity, width, height, fill) {
    const pixels = new ImageData(width, height);
    fill(new Uint32Array(pixels.data.buffer));
    scratch.width = width;
    scratch.height = height;
    scratch.getContext("2d").putImageData(pixels, 0, 0);
    context.globalAlpha = opacity;
    context.drawImage(scratch, 0, 0);
  }
  /** Draw the classes with an opacity, and their outlines more opaque, so that small differences are visible. */
  function stampMask(context, mask, opacity, shown, width, height) {
    stamp(context, opacity, width, height, (out) => classPixels(mask, shown, out));
    if (opacity < 1) {
      stamp(context, Math.min(1, 1.5 * opacity), width, height, (out) => outlinePixels(mask, shown, width, out));
    }
  }
  /** Draw an image's layers. `opacities`: of the four layers, 0 to 1; `shown`: the set of class indices that are shown. */
  function compose(canvas, image, { photograph, truth, mask }, opacities, shown) {
    const { width, height } = image;
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d");
    if (photograph && opacities.photograph) {
      context.globalAlpha = opacities.photograph;
      context.drawImage(photograph, 0, 0, width, height);
    }
    if (truth && opacities.truth) stampMask(context, truth, opacities.truth, shown, width, height);
    if (mask && opacities.prediction) stampMask(context, mask, opacities.prediction, shown, width, height);
    if (truth && mask && opacities.errors) {
      stamp(context, opacities.errors, width, height, (out) => errorPixels(truth, mask, shown, out));
    }
  }

  return { VOID, indices, photographOf, compose };
})();
