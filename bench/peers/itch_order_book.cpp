// Drives charles-cooper/itch-order-book (fetched by ../results.sh) over a file of length-prefixed
// ITCH 5.0 messages that lies in memory: what its own main() does, without reading a pipe by
// kilobytes. Prints nanoseconds per message, the number of messages, and a checksum of all best
// prices, which must be that of ours. Making its tables is not counted.

#include <endian.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cassert>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <limits>

#include "bufferedreader.h"
#include "itch.h"
#include "order_book.h"

static sprice_t mksigned(price_t price, BUY_SELL buy)
{
  auto ret = MKPRIMITIVE(price);
  if (BUY_SELL::SELL == buy) ret = -ret;
  return sprice_t(ret);
}

static uint64_t fold(uint64_t sum, uint64_t value)
{
  uint64_t const product = (sum ^ value) * 0x9e3779b97f4a7c15;
  return product << 23 | product >> 41;
}

int main(int argc, char **argv)
{
  int const fd = argc > 1 ? open(argv[1], O_RDONLY) : -1;
  struct stat st;
  if (fd < 0 || fstat(fd, &st)) {
    fprintf(stderr, "usage: %s FILE\n", argv[0]);
    return 2;
  }
  size_t const size = st.st_size;
  char *const bytes = new char[size + 64];
  for (size_t at = 0; at < size;) {
    ssize_t const got = read(fd, bytes + at, size - at);
    if (got <= 0) return 1;
    at += got;
  }
  // The table for order ids, as large as this file needs, and touched.
  uint64_t oid_max = 0;
  for (size_t at = 0; at + 2 <= size;) {
    char const *m = bytes + at + 2;
    if (*m == 'A' || *m == 'F') oid_max = std::max(oid_max, read_eight(m + 11));
    if (*m == 'U') oid_max = std::max(oid_max, read_eight(m + 19));
    at += 2 + read_two(bytes + at);
  }
  order_book::oid_map.reserve(order_id_t(oid_max));

  size_t count = 0;
  auto const start = std::chrono::steady_clock::now();
  for (char const *p = bytes, *end = bytes + size; p < end; ++count) {
    char const *m = p + 2;
    p = m + read_two(p);
    switch (itch_t(*m)) {
      case itch_t::ADD_ORDER: {
        auto const pkt = itch_message<itch_t::ADD_ORDER>::parse(m);
        order_book::add_order(order_id_t(pkt.oid), book_id_t(pkt.stock_locate),
                              mksigned(pkt.price, pkt.buy), pkt.qty);
        break;
      }
      case itch_t::ADD_ORDER_MPID: {
        auto const pkt = itch_message<itch_t::ADD_ORDER_MPID>::parse(m).add_msg;
        order_book::add_order(order_id_t(pkt.oid), book_id_t(pkt.stock_locate),
                              mksigned(pkt.price, pkt.buy), pkt.qty);
        break;
      }
      case itch_t::EXECUTE_ORDER: {
        auto const pkt = itch_message<itch_t::EXECUTE_ORDER>::parse(m);
        order_book::execute_order(order_id_t(pkt.oid), pkt.qty);
        break;
      }
      case itch_t::EXECUTE_ORDER_WITH_PRICE: {
        auto const pkt = itch_message<itch_t::EXECUTE_ORDER_WITH_PRICE>::parse(m);
        order_book::execute_order(order_id_t(pkt.exec.oid), pkt.exec.qty);
        break;
      }
      case itch_t::REDUCE_ORDER: {
        auto const pkt = itch_message<itch_t::REDUCE_ORDER>::parse(m);
        order_book::cancel_order(order_id_t(pkt.oid), pkt.qty);
        break;
      }
      case itch_t::DELETE_ORDER: {
        auto const pkt = itch_message<itch_t::DELETE_ORDER>::parse(m);
        order_book::delete_order(order_id_t(pkt.oid));
        break;
      }
      case itch_t::REPLACE_ORDER: {
        auto const pkt = itch_message<itch_t::REPLACE_ORDER>::parse(m);
        order_book::replace_order(order_id_t(pkt.oid), order_id_t(pkt.new_order_id),
                                  pkt.new_qty, mksigned(pkt.new_price, BUY_SELL::BUY));
        break;
      }
      default: break;
    }
  }
  auto const spent = std::chrono::steady_clock::now() - start;
  uint64_t sum = 0;
  for (size_t book = 0; book < order_book::MAX_BOOKS; ++book) {
    auto const &b = order_book::s_books[book];
    for (auto const *side : {&b.m_bids, &b.m_offers}) {
      if (side->empty()) continue;
      auto const &best = side->back();
      int64_t const price = int32_t(best.m_price);
      sum = fold(sum, uint64_t(price < 0 ? -price : price));
      sum = fold(sum, MKPRIMITIVE(order_book::s_levels[best.m_ptr].m_qty));
    }
  }
  printf("%.2f ns/message, %zu messages, checksum %016lx\n",
         std::chrono::duration<double, std::nano>(spent).count() / count, count, sum);
}
