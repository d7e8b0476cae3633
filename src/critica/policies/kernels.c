/* The memory-bound parts of a transformer layer on a CPU, one pass each, fp32.
 *
 * Plain C with OpenMP and GCC's vector extension, no intrinsics: the compiler picks the instructions of the machine.
 * A `vec` is as wide as its registers: wider ones pass through memory (with AVX2, six times slower in attention).
 * Sums are cut into a fixed number of parts, so results do not depend on the number of threads.
 * Arrays are contiguous and row-major unless a stride is given. Every function is checked against torch at start.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 16
#define PARTS 32 /* a weight's gradient is summed in this many parts */
#if defined(__AVX512F__)
#define WIDTH 16 /* floats in a register */
#elif defined(__AVX__)
#define WIDTH 8
#else
#define WIDTH 4
#endif
#define PIECES (LANES / WIDTH)
#define SUMS 8 /* registers that hold sums: as many as additions are under way at once */
typedef float vec __attribute__((vector_size(4 * WIDTH), aligned(4)));
#define INLINE static inline __attribute__((always_inline))
typedef int64_t idx;

static inline float max_of(float a, float b) { return a > b ? a : b; }

/* exp, relative error below 2e-7; exactly 0 below -87. Cody-Waite reduction and a polynomial: it vectorizes. */
static inline float exp1(float x) {
    float held = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
    float n = __builtin_rintf(held * 1.44269504088896341f);
    float r = (held - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union { int32_t i; float f; } power = {.i = ((int32_t)n + 127) << 23};
    return x < -87.0f ? 0.0f : p * power.f;
}

static inline float sigmoid1(float x) { return 1.0f / (1.0f + exp1(-x)); }

static inline float square_sum(const float *x, idx width) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (idx j = 0; j < width; j++) sum += x[j] * x[j];
    return sum;
}

/* out = w x / sqrt(mean x^2 + eps); weight may be null; `scale` (may be null) keeps 1 / sqrt(...) for backward. */
void rms_norm(const float *x, const float *weight, float *out, float *scale, idx rows, idx width, float eps, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * width > 16384)
    for (idx i = 0; i < rows; i++) {
        const float *in = x + i * width;
        float *to = out + i * width;
        float s = 1.0f / sqrtf(square_sum(in, width) / (float)width + eps);
        if (scale) scale[i] = s;
        if (weight)
            for (idx j = 0; j < width; j++) to[j] = in[j] * s * weight[j];
        else
            for (idx j = 0; j < width; j++) to[j] = in[j] * s;
    }
}

/* With h = x s and g = w dy: dx = s (g - h mean(g h)), and parts[p] = sum dy h over the rows of part p. */
void rms_norm_backward(const float *x, const float *weight, const float *scale, const float *grad, float *dx,
                       float *parts, idx rows, idx width, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (idx p = 0; p < PARTS; p++) {
        float *dw = parts + p * width;
        memset(dw, 0, sizeof(float) * (size_t)width);
        for (idx i = rows * p / PARTS; i < rows * (p + 1) / PARTS; i++) {
            const float *in = x + i * width, *dy = grad + i * width;
            float *to = dx + i * width;
            float s = scale[i], mean = 0.0f;
#pragma omp simd reduction(+ : mean)
            for (idx j = 0; j < width; j++) mean += dy[j] * weight[j] * in[j];
            mean *= s * s / (float)width;
#pragma omp simd
            for (idx j = 0; j < width; j++) {
                to[j] = s * (dy[j] * weight[j] - in[j] * mean);
                dw[j] += dy[j] * in[j] * s;
            }
        }
    }
}

/* out = silu(gate) up, for gate_up [rows, 2 width]. */
void swiglu(const float *gate_up, float *out, idx rows, idx width, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * width > 16384)
    for (idx i = 0; i < rows; i++) {
        const float *gate = gate_up + i * 2 * width, *up = gate + width;
        float *to = out + i * width;
#pragma omp simd
        for (idx j = 0; j < width; j++) to[j] = gate[j] * sigmoid1(gate[j]) * up[j];
    }
}

/* made [rows, 2 width]: the gradients of gate and up. */
void swiglu_backward(const float *gate_up, const float *grad, float *made, idx rows, idx width, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (idx i = 0; i < rows; i++) {
        const float *gate = gate_up + i * 2 * width, *up = gate + width, *dy = grad + i * width;
        float *dgate = made + i * 2 * width, *dup = dgate + width;
#pragma omp simd
        for (idx j = 0; j < width; j++) {
            float s = sigmoid1(gate[j]);
            dup[j] = dy[j] * gate[j] * s;
            dgate[j] = dy[j] * up[j] * s * (1.0f + gate[j] * (1.0f - s));
        }
    }
}

/* Up to LANES quantiles of one state against all of its samples, in registers. */
INLINE void pinball_block(const float *q, const float *levels, const float *y, const float *w, idx count, idx samples,
                          float delta, const int huber, float *loss, float *slope) {
    float mine[LANES] = {0}, up[LANES] = {0}, l[LANES] = {0}, g[LANES] = {0};
    for (idx k = 0; k < count; k++) mine[k] = q[k], up[k] = levels[k];
    for (idx s = 0; s < samples; s++) {
        const float at = y[s], weight = w[s];
#pragma omp simd
        for (int k = 0; k < LANES; k++) {
            float u = at - mine[k];
            float low = u < -delta ? -delta : u;
            float held = huber ? (low > delta ? delta : low) : (u > 0.0f ? 1.0f : (u < 0.0f ? -1.0f : 0.0f));
            float pull = weight * (u < 0.0f ? 1.0f - up[k] : up[k]) * held;
            l[k] += pull * (huber ? u - 0.5f * held : u);
            g[k] -= pull;
        }
    }
    for (idx k = 0; k < count; k++) loss[k] = l[k], slope[k] = g[k];
}

/* loss, slope [rows, count]: sum_s w_s |level - 1[u < 0]| H(u) with u = y_s - q, and its derivative in q; H is Huber's
 * with threshold delta, or |u| for delta < 0. y, w [rows / heads, samples] are shared by `heads` rows of q. */
void quantile_huber(const float *q, const float *levels, const float *y, const float *w, float *loss, float *slope,
                    idx rows, idx heads, idx count, idx samples, float delta, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * count * samples > 16384)
    for (idx i = 0; i < rows; i++) {
        const float *ys = y + i / heads * samples, *ws = w + i / heads * samples;
        for (idx k = 0; k < count; k += LANES) {
            idx at = i * count + k, width = count - k < LANES ? count - k : LANES;
            if (delta < 0.0f)
                pinball_block(q + at, levels + k, ys, ws, width, samples, delta, 0, loss + at, slope + at);
            else
                pinball_block(q + at, levels + k, ys, ws, width, samples, delta, 1, loss + at, slope + at);
        }
    }
}

/* One decoding step of the stop rule, for the slots that write: g = (max_a logits - logits at the token) / temperature
 * is added to its row's sums [count, sum, sum of squares]; unless `values` is null also z = keep z + take x with
 * x = clip((g - mean) / deviation), and the slot stops if z > threshold max(value, floor). Returns how many do.
 * `volatile` keeps products and sums apart: torch, whose bits these are, does not fuse them. NaN stays NaN.
 * A row that is none of the `known` ones is not written to; then it returns -1. */
idx regret_step(const float *logits, const idx *tokens, const idx *rows, const uint8_t *writing, const float *values,
                uint8_t *stops, float *signal, double *sums, const float *rule, idx known, idx slots, idx vocabulary,
                int threads) {
    const float temperature = rule[0], mean = rule[1], deviation = rule[2], clip = rule[3], keep = rule[4],
                take = rule[5], threshold = rule[6], floor = rule[7];
    idx stopped = 0, lost = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : stopped, lost) if (slots * vocabulary > 262144)
    for (idx i = 0; i < slots; i++) {
        stops[i] = 0;
        if (!writing[i]) continue;
        if (rows[i] < 0 || rows[i] >= known) {
            lost++;
            continue;
        }
        const float *in = logits + i * vocabulary;
        float top = -INFINITY;
        int unknown = 0;
#pragma omp simd reduction(max : top) reduction(| : unknown)
        for (idx a = 0; a < vocabulary; a++) {
            top = max_of(top, in[a]);
            unknown |= in[a] != in[a];
        }
        float regret = unknown ? NAN : (top - in[tokens[i]]) / temperature;
        volatile double square = (double)regret * (double)regret;
        double *sum = sums + rows[i] * 3;
        sum[0] += 1.0;
        sum[1] += regret;
        sum[2] += square;
        if (!values) continue;
        float x = (regret - mean) / deviation;
        x = x < -clip ? -clip : (x > clip ? clip : x);
        volatile float before = keep * signal[rows[i]], now = take * x;
        float z = before + now;
        signal[rows[i]] = z;
        stops[i] = z > threshold * (values[i] < floor ? floor : values[i]);
        stopped += stops[i];
    }
    return lost ? -1 : stopped;
}

/* One head: out = rotation of (w x s) by the token's angles, times `factor`. half = d / 2. */
static inline float turn(const float *x, const float *weight, const float *cosine, const float *sine, float *out,
                         idx half, float eps, float factor) {
    float s = 1.0f;
    if (weight) s = 1.0f / sqrtf(square_sum(x, 2 * half) / (float)(2 * half) + eps);
    float whole = s * factor;
#pragma omp simd
    for (idx j = 0; j < half; j++) {
        float a = x[j] * whole, b = x[j + half] * whole;
        if (weight) { a *= weight[j]; b *= weight[j + half]; }
        out[j] = a * cosine[j] - b * sine[j];
        out[j + half] = b * cosine[j] + a * sine[j];
    }
    return s;
}

/* joined [rows, heads + 2 key_heads, d] -> normed, rotated queries (times factor) and keys, and the values.
 * weight [heads + key_heads, d] or null; scale [rows, heads + key_heads] is kept for backward when weight is given. */
void norm_rotate(const float *joined, const float *weight, const float *cosine, const float *sine, float *query,
                 float *key, float *value, float *scale, idx rows, idx heads, idx key_heads, idx d, float eps,
                 float factor, int threads) {
    idx half = d / 2, all = heads + 2 * key_heads;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (idx i = 0; i < rows; i++) {
        const float *in = joined + i * all * d, *c = cosine + i * half, *n = sine + i * half;
        for (idx h = 0; h < heads + key_heads; h++) {
            float *to = h < heads ? query + (i * heads + h) * d : key + (i * key_heads + h - heads) * d;
            const float *w = weight ? weight + h * d : 0;
            float s = turn(in + h * d, w, c, n, to, half, eps, h < heads ? factor : 1.0f);
            if (weight) scale[i * (heads + key_heads) + h] = s;
        }
        memcpy(value + i * key_heads * d, in + (heads + key_heads) * d, sizeof(float) * (size_t)(key_heads * d));
    }
}

/* The reverse: gradients of queries, keys and values to that of `joined`; parts [PARTS, heads + key_heads, d]. */
void norm_rotate_backward(const float *joined, const float *weight, const float *scale, const float *cosine,
                          const float *sine, const float *dquery, const float *dkey, const float *dvalue, float *made,
                          float *parts, idx rows, idx heads, idx key_heads, idx d, float factor, int threads) {
    idx half = d / 2, all = heads + 2 * key_heads, turned = heads + key_heads;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (idx p = 0; p < PARTS; p++) {
        if (weight) memset(parts + p * turned * d, 0, sizeof(float) * (size_t)(turned * d));
        for (idx i = rows * p / PARTS; i < rows * (p + 1) / PARTS; i++) {
            const float *in = joined + i * all * d, *c = cosine + i * half, *n = sine + i * half;
            float *to = made + i * all * d;
            for (idx h = 0; h < turned; h++) {
                const float *dy = h < heads ? dquery + (i * heads + h) * d : dkey + (i * key_heads + h - heads) * d;
                float f = h < heads ? factor : 1.0f, *dx = to + h * d;
#pragma omp simd
                for (idx j = 0; j < half; j++) {
                    float a = dy[j] * f, b = dy[j + half] * f;
                    dx[j] = a * c[j] + b * n[j];
                    dx[j + half] = b * c[j] - a * n[j];
                }
                if (!weight) continue;
                const float *x = in + h * d, *w = weight + h * d;
                float *dw = parts + (p * turned + h) * d, s = scale[i * turned + h], mean = 0.0f;
#pragma omp simd reduction(+ : mean)
                for (idx j = 0; j < d; j++) mean += dx[j] * w[j] * x[j];
                mean *= s * s / (float)d;
#pragma omp simd
                for (idx j = 0; j < d; j++) {
                    dw[j] += dx[j] * x[j] * s;
                    dx[j] = s * (dx[j] * w[j] - x[j] * mean);
                }
            }
            memcpy(to + turned * d, dvalue + i * key_heads * d, sizeof(float) * (size_t)(key_heads * d));
        }
    }
}

/* Keys are kept in blocks of LANES tokens, transposed within a block: [tokens / LANES, d, LANES]. `heads` is 1 or 2:
 * so many queries read a block together. SUMS sums run side by side: one alone would wait for its own last addition. */
INLINE void score_block(const float *block, const float *query, float *out, idx stride, const idx d, const int heads) {
    const int chains = SUMS / PIECES / heads;
    vec sums[SUMS] = {0};
    idx j = 0;
    for (; j + chains <= d; j += chains)
        for (int u = 0; u < chains; u++)
            for (int p = 0; p < PIECES; p++) {
                vec keys = *(const vec *)(block + (j + u) * LANES + p * WIDTH);
                for (int h = 0; h < heads; h++) sums[(h * chains + u) * PIECES + p] += query[h * d + j + u] * keys;
            }
    for (; j < d; j++)
        for (int p = 0; p < PIECES; p++) {
            vec keys = *(const vec *)(block + j * LANES + p * WIDTH);
            for (int h = 0; h < heads; h++) sums[h * chains * PIECES + p] += query[h * d + j] * keys;
        }
    for (int h = 0; h < heads; h++)
        for (int p = 0; p < PIECES; p++) {
            vec whole = sums[h * chains * PIECES + p];
            for (int u = 1; u < chains; u++) whole += sums[(h * chains + u) * PIECES + p];
            *(vec *)(out + h * stride + p * WIDTH) = whole;
        }
}

/* out[h] += sum_s weights[h, s] values[s] for `heads` heads, a strip of `wide` vectors at a time. */
INLINE void mix_strips(const float *weights, idx stride, const float *values, idx count, float *out, const idx d,
                       const int heads) {
    const int wide = d / WIDTH < SUMS / 2 ? d / WIDTH : SUMS / 2, chains = SUMS / wide / heads;
    for (idx from = 0; from < d; from += wide * WIDTH) {
        vec sums[SUMS] = {0};
        idx s = 0;
        for (; s + chains <= count; s += chains)
            for (int u = 0; u < chains; u++)
                for (int j = 0; j < wide; j++) {
                    vec value = *(const vec *)(values + (s + u) * d + from + j * WIDTH);
                    for (int h = 0; h < heads; h++)
                        sums[(h * chains + u) * wide + j] += weights[h * stride + s + u] * value;
                }
        for (; s < count; s++)
            for (int j = 0; j < wide; j++) {
                vec value = *(const vec *)(values + s * d + from + j * WIDTH);
                for (int h = 0; h < heads; h++) sums[h * chains * wide + j] += weights[h * stride + s] * value;
            }
        for (int h = 0; h < heads; h++)
            for (int j = 0; j < wide; j++) {
                vec whole = sums[h * chains * wide + j];
                for (int u = 1; u < chains; u++) whole += sums[(h * chains + u) * wide + j];
                *(vec *)(out + h * d + from + j * WIDTH) += whole;
            }
    }
}

INLINE void mix(const float *weights, idx stride, const float *values, idx count, float *out, const idx d,
                const int heads, const int even) {
    if (even) {
        mix_strips(weights, stride, values, count, out, d, heads);
        return;
    }
    for (int h = 0; h < heads; h++)
        for (idx s = 0; s < count; s++)
            for (idx j = 0; j < d; j++) out[h * d + j] += weights[h * stride + s] * values[s * d + j];
}

/* scores[0..count) to exp(scores - max), zeros behind them up to a multiple of LANES; returns the sum. */
INLINE float soften(float *scores, idx count) {
    idx padded = (count + LANES - 1) / LANES * LANES;
    for (idx s = count; s < padded; s++) scores[s] = -INFINITY;
    float top = scores[0], total = 0.0f;
#pragma omp simd reduction(max : top)
    for (idx s = 0; s < padded; s++) top = max_of(top, scores[s]);
#pragma omp simd reduction(+ : total)
    for (idx s = 0; s < padded; s++) {
        scores[s] = exp1(scores[s] - top);
        total += scores[s];
    }
    return total;
}

/* `heads` query heads of one key head over the prompt's tokens and the row's own; scores [heads, stride]. */
INLINE void attend_heads(const float *query, const float *prompt_keys, const float *prompt_values, idx prompt,
                         const float *keys, const float *values, idx own, float *scores, idx stride, float *out,
                         const idx d, const int heads, const int even) {
    for (idx s = 0; s < prompt; s += LANES) score_block(prompt_keys + s * d, query, scores + s, stride, d, heads);
    for (idx s = 0; s < own; s += LANES) score_block(keys + s * d, query, scores + prompt + s, stride, d, heads);
    float totals[2], sums[2 * d];
    for (int h = 0; h < heads; h++) totals[h] = soften(scores + h * stride, prompt + own);
    memset(sums, 0, sizeof(float) * (size_t)(heads * d));
    mix(scores, stride, prompt_values, prompt, sums, d, heads, even);
    mix(scores + prompt, stride, values, own, sums, d, heads, even);
    for (int h = 0; h < heads; h++)
        for (idx j = 0; j < d; j++) out[h * d + j] = sums[h * d + j] / totals[h];
}

/* One or two query heads, compiled apart for the usual widths. */
static void attend(const float *query, const float *prompt_keys, const float *prompt_values, idx prompt,
                   const float *keys, const float *values, idx own, float *scores, idx stride, float *out, idx d,
                   int heads) {
#define GIVEN query, prompt_keys, prompt_values, prompt, keys, values, own, scores, stride, out
#define ATTEND(width, even) \
    if (heads == 2) attend_heads(GIVEN, width, 2, even); \
    else attend_heads(GIVEN, width, 1, even);
    if (d == 32) { ATTEND(32, 1) }
    else if (d == 64) { ATTEND(64, 1) }
    else if (d == 128) { ATTEND(128, 1) }
    else { ATTEND(d, 0) }
#undef ATTEND
#undef GIVEN
}

/* One new token per row: norm and rotate its query and key, store key and value, attend over prompt and own tokens.
 *
 * joined [rows, heads + 2 key_heads, d]; cosine, sine [rows, d / 2]; parent[row] is the row's prompt, slot[row] its
 * place in the cache. prompt_keys [B, key_heads, ceil(P / LANES), d, LANES]; prompt_values [B, key_heads, P, d];
 * keys [slots, key_heads, ceil(T / LANES), d, LANES]; values [slots, key_heads, T, d]; out [rows, heads, d].
 * work [threads, work_width] holds two queries and their scores; work_width >= 2 (P + T + 2 LANES + d). */
void decode_attention(const float *joined, const float *weight, const float *cosine, const float *sine,
                      const idx *parent, const idx *slot, const idx *prompt_lengths, const float *prompt_keys,
                      const float *prompt_values, float *keys, float *values, float *out, float *work, idx work_width,
                      idx rows, idx heads, idx key_heads, idx d, idx prompt_width, idx room, idx at, float eps,
                      int threads) {
    idx half = d / 2, shared = heads / key_heads, all = heads + 2 * key_heads;
    idx prompt_blocks = (prompt_width + LANES - 1) / LANES, blocks = (room + LANES - 1) / LANES;
    float factor = 1.0f / sqrtf((float)d);
    idx chunk = (rows + threads - 1) / threads;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++) {
        float *query = work + t * work_width, *scores = query + 2 * d;
        idx stride = (work_width - 2 * d) / 2;
        idx stop = (t + 1) * chunk < rows ? (t + 1) * chunk : rows;
        for (idx i = t * chunk; i < stop; i++) {
            const float *in = joined + i * all * d, *c = cosine + i * half, *n = sine + i * half;
            idx prompt = prompt_lengths[parent[i]];
            for (idx g = 0; g < key_heads; g++) {
                const float *pk = prompt_keys + (parent[i] * key_heads + g) * prompt_blocks * d * LANES;
                const float *pv = prompt_values + (parent[i] * key_heads + g) * prompt_width * d;
                float *k = keys + (slot[i] * key_heads + g) * blocks * d * LANES;
                float *v = values + (slot[i] * key_heads + g) * room * d;
                const float *new_value = in + (heads + key_heads + g) * d;
                turn(in + (heads + g) * d, weight ? weight + (heads + g) * d : 0, c, n, query, half, eps, 1.0f);
                float *column = k + at / LANES * LANES * d + at % LANES;
                for (idx j = 0; j < d; j++) column[j * LANES] = query[j];
                memcpy(v + at * d, new_value, sizeof(float) * (size_t)d);
                for (idx h = g * shared; h < (g + 1) * shared; h += 2) {
                    int count = h + 1 < (g + 1) * shared ? 2 : 1;
                    for (idx e = h; e < h + count; e++)
                        turn(in + e * d, weight ? weight + e * d : 0, c, n, query + (e - h) * d, half, eps, factor);
                    attend(query, pk, pv, prompt, k, v, at + 1, scores, stride, out + (i * heads + h) * d, d, count);
                }
            }
        }
    }
}
